"""What is known of a call without an answer: certainly not sent, or maybe sent, and never the wrong one of the two."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from services.sender.transports import HttpAnswer, HttpRequest, HttpTransport
from services.sender.transports.http1.connection import Connection
from services.sender.transports.http1.transport import Http1Transport
from services.sender.transports.with_aiohttp import AiohttpTransport
from shared.domain.outcome import CallResult, Verdict
from tests.support.scripted_provider import (
    ACCEPTED,
    Open,
    Peer,
    accepted,
    always,
    call_over,
    connected,
    open_http1,
    scripted,
)

NEVER_S = 60
SHORT_S = 3
"""Of a call that has to connect first, on a machine that is busy with other tests."""
SECRETS = ("secret", "127.0.0.1", "messages")


async def test_a_port_that_nobody_listens_on_is_certainly_not_sent(opened: Open) -> None:
    with _held_port() as held:
        port = held.getsockname()[1]
        async with opened(f"http://user:secret@127.0.0.1:{port}/messages?key=secret") as caller:
            with capture_logs() as lines:
                results = [await caller.post(b"{}") for _ in range(3)]
    for result in results:
        _assert_not_connected(result, "ConnectionRefusedError")
    said = {"event": "provider_unreachable", "log_level": "warning", "reason": "ConnectionRefusedError"}
    assert lines == [{**said, "server": f"127.0.0.1:{port}"}]


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
async def test_a_name_that_can_be_none_is_certainly_not_sent(opened: Open, host: str) -> None:
    async with opened(f"http://{host}/messages") as caller:
        result = await caller.post(b"{}")
    assert isinstance(result, CallResult)
    assert (result.verdict, result.code) == (Verdict.NOT_SENT, "connect_failed")


async def test_a_connect_that_hangs_is_certainly_not_sent(opened: Open) -> None:
    with _full_backlog() as port:
        async with opened(f"http://127.0.0.1:{port}/messages", timeout_s=0.4) as caller:
            _assert_not_connected(await caller.post(b"{}"), "TimeoutError")


async def test_a_tls_handshake_that_hangs_is_certainly_not_sent(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.until_left()

    async with scripted(script) as provider, opened(_https(provider.url), timeout_s=0.4) as caller:
        _assert_not_connected(await caller.post(b"{}"), "TimeoutError")
        await provider.peers[0].was_left()


async def test_a_server_that_speaks_no_tls_is_certainly_not_sent(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await peer.until_left()

    async with scripted(script) as provider, opened(_https(provider.url)) as caller:
        result = await caller.post(b"{}")
    assert isinstance(result, CallResult)
    assert (result.verdict, result.code) == (Verdict.NOT_SENT, "connect_failed")


async def test_a_connection_closed_instead_of_an_answer_is_unclear(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with scripted(script) as provider, opened(provider.url) as caller:
        _assert_unclear(await caller.post(b"{}"), "connection_lost", "closed by the provider")


async def test_a_connection_reset_instead_of_an_answer_is_unclear(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with scripted(script) as provider, opened(provider.url) as caller:
        _assert_unclear(await caller.post(b"{}"), "connection_lost", "ConnectionResetError")


async def test_a_body_without_a_length_is_not_whole_when_the_connection_is_reset() -> None:
    """aiohttp's client takes a reset for an end."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b'HTTP/1.1 200 OK\r\n\r\n{"message_id":"1"}')
        peer.reset()

    async with scripted(script) as provider, open_http1(provider.url) as caller:
        _assert_unclear(await caller.post(b"{}"), "connection_lost")


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp says what it would rather have
async def test_a_reset_in_the_middle_of_a_long_request_is_unclear(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readexactly(100_000)
        peer.reset()

    async with scripted(script) as provider, opened(provider.url) as caller:
        _assert_unclear(await caller.post(b"x" * 30_000_000), "connection_lost")


async def test_no_answer_in_time_is_unclear_and_ends_the_connection(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.until_left()

    async with scripted(script) as provider, opened(provider.url, timeout_s=SHORT_S) as caller:
        _assert_unclear(await caller.post(b"{}"), "timeout", f"within {SHORT_S} s")
        await provider.peers[0].was_left()


async def test_an_answer_that_does_not_end_in_time_is_unclear(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ACCEPTED[:-1])
        await peer.until_left()

    async with scripted(script) as provider, opened(provider.url, timeout_s=SHORT_S) as caller:
        _assert_unclear(await caller.post(b"{}"), "timeout")
        await provider.peers[0].was_left()


async def test_a_late_answer_is_never_taken_for_that_of_the_next_call(opened: Open) -> None:
    asked_again, sent_late = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await asked_again.wait()
            with contextlib.suppress(ConnectionError):
                await peer.send(accepted("late"))
            sent_late.set()
        else:
            asked_again.set()
            await sent_late.wait()
            await peer.send(accepted("own"))

    async with scripted(script) as provider, opened(provider.url, timeout_s=SHORT_S) as caller:
        _assert_unclear(await caller.post(b"{}"), "timeout")
        answer = await caller.post(b"{}")
        assert isinstance(answer, HttpAnswer)
        assert answer.body == b'{"message_id":"own"}'


async def test_a_cancelled_call_ends_its_connection_and_raises(opened: Open) -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await (peer.until_left() if peer.number == 0 else peer.send(ACCEPTED))

    async with scripted(script) as provider, opened(provider.url) as caller:
        call = asyncio.create_task(caller.post(b"{}"))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await provider.peers[0].was_left()
        assert isinstance(await caller.post(b"{}"), HttpAnswer)
        assert len(provider.peers) == 2


async def test_a_call_cancelled_as_its_answer_comes_leaves_no_connection_behind() -> None:
    class CancelledOnAnswer(Connection):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            call.cancel()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ACCEPTED)
        await peer.until_left()

    async with scripted(script) as provider:
        connection = await connected(CancelledOnAnswer(_nothing), provider)
        call = asyncio.create_task(call_over(connection))
        with pytest.raises(asyncio.CancelledError):
            await call
        await provider.peers[0].was_left()


async def test_a_call_cancelled_while_it_connects_leaves_no_connection_behind(opened: Open) -> None:
    came = asyncio.Event()

    async def script(peer: Peer) -> None:
        came.set()
        await peer.until_left()

    async with scripted(script) as provider, opened(_https(provider.url)) as caller:
        call = asyncio.create_task(caller.post(b"{}"))
        await came.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await provider.peers[0].was_left()


async def test_a_connection_that_went_before_anything_was_written_is_certainly_not_sent() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.close()

    async with scripted(script) as provider:
        connection = await connected(Connection(lambda _: gone.set()), provider)
        await asyncio.wait_for(gone.wait(), NEVER_S)
        _assert_not_connected(await call_over(connection), "ConnectionAbortedError")


async def test_an_answer_before_any_request_ends_the_connection() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.send(ACCEPTED)
        await peer.until_left()

    async with scripted(script) as provider:
        connection = await connected(Connection(lambda _: gone.set()), provider)
        await asyncio.wait_for(gone.wait(), NEVER_S)
        _assert_not_connected(await call_over(connection), "ConnectionAbortedError")


@pytest.mark.parametrize("make", [Http1Transport, AiohttpTransport])
async def test_sending_needs_an_open_transport(make: Callable[[float], HttpTransport]) -> None:
    with pytest.raises(RuntimeError, match="open the transport"):
        await make(1).send(HttpRequest("POST", "http://127.0.0.1:1/messages", (), b"{}"))


async def test_a_provider_that_comes_back_is_reached_again(opened: Open) -> None:
    with _held_port() as held:
        async with opened(f"http://127.0.0.1:{held.getsockname()[1]}/messages") as caller:
            _assert_not_connected(await caller.post(b"{}"), "ConnectionRefusedError")
            async with scripted(always(ACCEPTED), sock=held):
                assert isinstance(await caller.post(b"{}"), HttpAnswer)


async def test_calls_are_independent_of_one_anothers_losses(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        if request.body != b"1":
            peer.reset()
        else:
            await peer.send(ACCEPTED)

    async with scripted(script) as provider, opened(provider.url) as caller:
        results = await asyncio.gather(*(caller.post(b"%d" % (number % 2)) for number in range(20)))
    assert [isinstance(result, HttpAnswer) for result in results] == [False, True] * 10


def _assert_not_connected(result: HttpAnswer | CallResult, error: str) -> None:
    assert isinstance(result, CallResult)
    assert (result.verdict, result.code) == (Verdict.NOT_SENT, "connect_failed")
    assert error in (result.reason or "")
    assert not any(secret in (result.reason or "") for secret in SECRETS)


def _assert_unclear(result: HttpAnswer | CallResult, code: str, reason: str = "") -> None:
    assert isinstance(result, CallResult)
    assert (result.verdict, result.code) == (Verdict.UNCLEAR, code)
    assert reason in (result.reason or "")
    assert not any(secret in (result.reason or "") for secret in SECRETS)


def _nothing(_: Connection) -> None:
    pass


def _https(url: str) -> str:
    return url.replace("http://", "https://")


@contextlib.contextmanager
def _held_port() -> Iterator[socket.socket]:
    """A port that nobody listens on, and that nobody else can take."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held


@contextlib.contextmanager
def _full_backlog() -> Iterator[int]:
    """A port that takes no more connections, and refuses none."""
    with socket.socket() as listening, contextlib.ExitStack() as fillers:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]
