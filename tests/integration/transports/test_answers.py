"""Every HTTP answer that a provider may give is read as it is meant, and nothing else is taken for one."""

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable
from itertools import chain, repeat

import pytest

from services.sender.providers.gateway import HttpGateway, TextMessage
from services.sender.providers.plain.classify import CodeTable
from services.sender.providers.plain.format import PlainFormat
from services.sender.transports import HttpAnswer
from shared.domain.outcome import CallResult, Verdict
from tests.support.scripted_provider import ACCEPTED, Caller, Open, Peer, always, open_aiohttp, open_http1, scripted

BODY = b'{"message_id":"1"}'
MESSAGE = TextMessage("b:1", "+8613800138000", "hello")


@pytest.mark.parametrize(
    ("octets", "status", "body"),
    [
        pytest.param(ACCEPTED, 200, BODY, id="with a length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n"
            + BODY[:8] + b"\r\nA;x=y\r\n" + BODY[8:] + b"\r\n0\r\nRetry-After: 3\r\n\r\n",
            200, BODY, id="in chunks, with an extension and a trailer",
        ),
        pytest.param(b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", 200, b"", id="without a reason or a body"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 18\r\n\r\n", 304, b"", id="304"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + ACCEPTED, 200, BODY, id="after a 100"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ACCEPTED, 200, BODY, id="after a 103"),
        pytest.param(ACCEPTED.replace(b"\r\n", b"\n"), 200, BODY, id="with bare line feeds"),
        pytest.param(b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}", 500, b"{}", id="an error"),
    ],
)  # fmt: skip
async def test_an_answer_is_read_and_the_connection_kept(opened: Open, octets: bytes, status: int, body: bytes) -> None:
    async with scripted(always(octets)) as provider, opened(provider.url) as caller:
        for _ in range(2):
            answer = await caller.post(b"{}")
            assert isinstance(answer, HttpAnswer)
            assert (answer.status, answer.body) == (status, body)
        assert len(provider.peers) == 1


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + BODY, id="without a length"),
        pytest.param(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n" + BODY, id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 18\r\n\r\n" + BODY, id="Connection: close"
        ),
    ],
)
async def test_an_answer_may_end_with_its_connection(opened: Open, octets: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(octets)

    async with scripted(script) as provider, opened(provider.url) as caller:
        for _ in range(2):
            answer = await caller.post(b"{}")
            assert isinstance(answer, HttpAnswer)
            assert answer.body == BODY
        assert len(provider.peers) == 2


@pytest.mark.parametrize(
    "version_and_fields",
    [b"1.0 200 OK\r\n", b"1.1 200 OK\r\nConnection: close\r\n"],
    ids=["HTTP/1.0", "Connection: close"],
)
async def test_a_connection_that_the_provider_will_close_is_closed_first(
    opened: Open, version_and_fields: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/" + version_and_fields + b"Content-Length: 18\r\n\r\n" + BODY)
        await peer.until_left()

    async with scripted(script) as provider, opened(provider.url) as caller:
        assert isinstance(await caller.post(b"{}"), HttpAnswer)
        await provider.peers[0].was_left()


async def test_an_http_1_0_answer_may_ask_to_keep_the_connection(opened: Open) -> None:
    octets = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 18\r\n\r\n" + BODY
    async with scripted(always(octets)) as provider, opened(provider.url) as caller:
        assert [(await caller.post(b"{}")).status for _ in range(2)] == [200, 200]
        assert len(provider.peers) == 1


async def test_of_an_endless_body_512_kib_are_kept_and_the_connection_is_closed(opened: Open) -> None:
    async with scripted(endless(b"503 Busy", b"x" * 4096)) as provider, opened(provider.url) as caller:
        answer = await caller.post(b"{}")
        assert isinstance(answer, HttpAnswer)
        assert (answer.status, answer.body) == (503, b"x" * 524_288)
        await provider.peers[0].was_left()


async def test_a_good_object_that_an_endless_body_follows_is_unclear(opened: Open) -> None:
    script = endless(b"200 OK", BODY, b" " * 4096)
    async with scripted(script) as provider, opened(provider.url) as caller:
        result = await HttpGateway("p", PlainFormat(caller.url, CodeTable(), is_list=False), caller.transport).send(
            [MESSAGE]
        )
        assert _verdict(result) == (Verdict.UNCLEAR, "answer_not_understood")
        await provider.peers[0].was_left()


def plain(caller: Caller) -> HttpGateway:
    return HttpGateway("p", PlainFormat(caller.url, CodeTable(), is_list=False), caller.transport)


def endless(status: bytes, *pieces: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Answers with a body of these chunks, the last of them again and again."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
        for piece in chain(pieces, repeat(pieces[-1])):
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))

    return script


@pytest.mark.parametrize(
    "more",
    [b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", b"x" * 1000, b"\r\nHTTP/1.1 100 Continue\r\nA: b\r\n"],
    ids=["headers", "one header", "interim answers"],
)
async def test_an_endless_head_is_given_up(opened: Open, more: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 100 Continue\r\nX: ")
        while True:
            await peer.send(more)

    async with scripted(script) as provider, opened(provider.url) as caller:
        assert _verdict(await caller.post(b"{}")) == (Verdict.UNCLEAR, "answer_not_understood")
        await provider.peers[0].was_left()


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"220 mail.example ESMTP\r\n", id="another protocol"),
        pytest.param(b'{"message_id":"1"}', id="a body without a head"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x50", id="a TLS alert"),
        pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nServer: a\0b\r\nContent-Length: 18\r\n\r\n" + BODY, id="a NUL in a header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="an impossible length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 18\r\n\r\n" + BODY, id="two lengths"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
            id="a length and chunks",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="a chunk without a size"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + ACCEPTED, id="an upgrade"
        ),
    ],
)
async def test_what_is_no_http_is_unclear_and_ends_the_connection(opened: Open, octets: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(octets)
        await peer.until_left()

    async with scripted(script) as provider, opened(provider.url) as caller:
        assert _verdict(await caller.post(b"{}")) == (Verdict.UNCLEAR, "answer_not_understood")
        await provider.peers[0].was_left()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n" + BODY[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n" + BODY + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "no last chunk", "an interim answer only"],
)
async def test_an_answer_that_breaks_off_is_a_lost_connection(opened: Open, octets: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(octets)

    async with scripted(script) as provider, opened(provider.url) as caller:
        assert _verdict(await caller.post(b"{}")) == (Verdict.UNCLEAR, "connection_lost")


async def test_a_redirect_is_an_answer_and_is_not_followed(opened: Open) -> None:
    octets = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with scripted(always(octets, ACCEPTED)) as provider, opened(provider.url) as caller:
        answer = await caller.post(b"{}")
        assert isinstance(answer, HttpAnswer)
        assert (answer.status, answer.headers["location"]) == (307, "/elsewhere")
        assert await caller.post(b"{}") != answer


_PACKED = gzip.compress(BODY)
COMPRESSED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(_PACKED), _PACKED)


async def test_a_compressed_answer_is_read_by_aiohttp() -> None:
    async with scripted(always(COMPRESSED)) as provider, open_aiohttp(provider.url) as caller:
        answer = await caller.post(b"{}")
    assert isinstance(answer, HttpAnswer)
    assert answer.body == BODY


async def test_a_compressed_answer_that_nobody_asked_for_is_not_understood() -> None:
    async with scripted(always(COMPRESSED)) as provider, open_http1(provider.url) as caller:
        result = await HttpGateway("p", PlainFormat(caller.url, CodeTable(), is_list=False), caller.transport).send(
            [MESSAGE]
        )
    assert (result.verdict, result.code, result.status) == (Verdict.UNCLEAR, "answer_not_understood", 200)


async def test_retry_after_is_found_however_it_is_written(opened: Open) -> None:
    octets = b"HTTP/1.1 429 Too Many Requests\r\nX-Empty:\r\nrEtRy-aFtEr: 7\r\nContent-Length: 0\r\n\r\n"
    async with scripted(always(octets)) as provider, opened(provider.url) as caller:
        result = await HttpGateway("p", PlainFormat(caller.url, CodeTable(), is_list=False), caller.transport).send(
            [MESSAGE]
        )
    assert (result.verdict, result.retry_after_s) == (Verdict.NOT_SENT, 7)


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp says what it would rather have
async def test_an_answer_before_the_whole_request_was_read_counts_and_the_connection_does_not(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}")
        await peer.until_left()

    async with scripted(script) as provider, opened(provider.url) as caller:
        for _ in range(2):
            answer = await caller.post(b"x" * 30_000_000)
            assert isinstance(answer, HttpAnswer)
            assert answer.status == 413
        assert len(provider.peers) == 2


async def test_an_answer_that_comes_in_single_bytes_is_whole(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for octet in ACCEPTED:
            await peer.send(bytes([octet]))
            await asyncio.sleep(0)

    async with scripted(script) as provider, opened(provider.url) as caller:
        answer = await caller.post(b"{}")
        assert isinstance(answer, HttpAnswer)
        assert answer.body == BODY


def _verdict(result: HttpAnswer | CallResult) -> tuple[Verdict, str | None]:
    assert isinstance(result, CallResult)
    assert not re.search(r"127\.0\.0\.1|messages", result.reason or "")
    return result.verdict, result.code
