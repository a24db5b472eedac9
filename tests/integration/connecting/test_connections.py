"""Connections of clients that say nothing, too little or too much."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from services.api.app import build_app, build_parts
from services.api.serving.body_reader import BodyReader, Times
from services.api.serving.connections import Door, Timeouts
from services.api.serving.problems import SERVER, problem_middleware
from services.api.settings import ApiSettings

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LONG_S = 600.0


@pytest.fixture(autouse=True)
def _no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_DATABASE_URL", f"sqlite:///{tmp_path}/none.sqlite3")


class Client:
    """One connection to the api."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def says(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(30):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split()[1]), headers, body

    async def ended(self) -> bytes:
        """What still comes until the api closes the connection."""
        async with asyncio.timeout(30):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def opened(door: Door, app: web.Application | None = None) -> AsyncIterator[Callable[[], Any]]:
    """The api, or another application, behind a door; opens connections to it."""
    settings, stop = ApiSettings(), asyncio.Event()
    runner = web.AppRunner(app or build_app(settings, build_parts(settings), stop), shutdown_timeout=1)
    await runner.setup()
    assert runner.server is not None
    listening = await door.listen(runner.server, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        stack.callback(listening.close)
        stack.callback(stop.set)

        async def connect() -> Client:
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            stack.callback(client.writer.close)
            return client

        yield connect


def of_problem(answer: tuple[int, dict[str, str], bytes]) -> int:
    """The status of an answer, which has to be a problem document that names no version."""
    status, headers, body = answer
    assert headers["content-type"] == "application/problem+json"
    assert headers["server"] == "sms-batch"
    assert orjson.loads(body)["status"] == status
    return status


@pytest.mark.parametrize("said", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"])
async def test_a_header_that_does_not_come_is_408_and_the_end(said: bytes) -> None:
    async with opened(Door(10, Timeouts(header_s=0.3, keep_alive_s=LONG_S))) as connect:
        client = await connect()
        await client.says(said)
        assert of_problem(await client.answer()) == 408
        assert await client.ended() == b""


async def test_a_header_that_trickles_is_late_on_a_connection_that_was_used_before_too() -> None:
    async with opened(Door(10, Timeouts(header_s=1, keep_alive_s=LONG_S))) as connect:
        client = await connect()
        for _ in range(2):
            await client.says(GET)
            assert (await client.answer())[0] == 200
        trickling = asyncio.create_task(_trickle(client))
        assert of_problem(await client.answer()) == 408
        assert await client.ended() == b""
        trickling.cancel()


async def _trickle(client: Client) -> None:
    await client.says(b"GET /healthz HTTP/1.1\r\n")
    while True:
        await asyncio.sleep(0.05)
        await client.says(b"A: b\r\n")


async def _say_again_and_again(client: Client, octets: bytes) -> None:
    while not client.writer.transport.is_closing():
        await client.says(octets)
        await asyncio.sleep(0.01)


async def test_between_two_requests_a_connection_may_rest_longer_than_a_header_may_take() -> None:
    async with opened(Door(10, Timeouts(header_s=1, keep_alive_s=LONG_S))) as connect:
        client = await connect()
        await client.says(GET)
        assert (await client.answer())[0] == 200
        await asyncio.sleep(1.3)
        await client.says(GET)
        assert (await client.answer())[0] == 200


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    async with opened(Door(10, Timeouts(header_s=LONG_S, keep_alive_s=0.2))) as connect:
        client = await connect()
        await client.says(GET)
        assert (await client.answer())[0] == 200
        assert await client.ended() == b""


async def test_a_header_of_many_kilobytes_is_431_before_it_is_whole() -> None:
    async with opened(Door(10, Timeouts(header_s=LONG_S))) as connect:
        client = await connect()
        await client.says(GET[:-2] + b"".join(b"A: %b\r\n" % (b"x" * 1000) for _ in range(32)))
        await client.says(b"A: " + b"x" * 1000)
        assert of_problem(await client.answer()) == 431
        client = await connect()
        await client.says(GET[:-2] + b"".join(b"A: %b\r\n" % (b"x" * 1000) for _ in range(20)) + b"\r\n")
        assert (await client.answer())[0] == 200


HEADER = b"A: %b\r\n" % (b"x" * 2000)


async def test_the_end_of_a_large_body_is_no_header() -> None:
    async with opened(Door(10), bodies_app(BodyReader(1_000_000), then_s=0.2)) as connect:
        client = await connect()
        for _ in range(2):
            await client.says(POST + b"Content-Length: 900000\r\n\r\n" + b"x" * 900_000)
            assert (await client.answer())[2] == b"900000"


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"", GET[:-2] + HEADER + b"\r\n"), (GET[:-2], HEADER)],
    ids=["whole requests", "one that is not whole"],
)
async def test_headers_that_wait_behind_a_request_are_bounded(begin: bytes, more: bytes) -> None:
    async def never(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/healthz", never)
    async with opened(Door(10), app) as connect:
        client = await connect()
        await client.says(GET + begin)
        with suppress(ConnectionError):
            await _say_again_and_again(client, more)
        assert await client.ended() == b""


async def test_a_body_may_take_longer_than_a_header() -> None:
    body = b'{"recipients": []}'
    async with opened(Door(10, Timeouts(header_s=1))) as connect:
        client = await connect()
        await client.says(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        for octet in body:
            await client.says(bytes([octet]))
            await asyncio.sleep(0.07)
        assert of_problem(await client.answer()) == 422


async def test_a_client_that_reads_nothing_is_left() -> None:
    async with opened(Door(10, Timeouts(unread_s=0.2))) as connect:
        client = await connect()
        client.writer.transport.pause_reading()
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        async with asyncio.timeout(60):
            with suppress(ConnectionError):
                await _say_again_and_again(client, request * 100)


async def test_one_address_has_half_of_the_connections_and_a_closed_one_is_another_ones() -> None:
    async with opened(Door(6)) as connect:
        clients = [await connect() for _ in range(3)]
        for client in clients:
            await client.says(GET)
            assert (await client.answer())[0] == 200
        refused = await connect()
        _status, headers, _body = answer = await refused.answer()
        assert (of_problem(answer), headers["connection"]) == (503, "close")
        assert int(headers["retry-after"]) > 0
        assert await refused.ended() == b""
        clients[0].writer.close()

        async def admitted() -> bool:
            client = await connect()
            await client.says(GET)
            try:
                return (await client.answer())[0] == 200
            except (ConnectionError, asyncio.IncompleteReadError):
                return False

        async with asyncio.timeout(30):
            while not await admitted():
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("request_text", "statuses"),
    [
        pytest.param(b"the-secret-key\r\n\r\n", {400}, id="no request"),
        pytest.param(b"GET /the-secret-key HTTP/9\r\n\r\n", {400}, id="version"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nthe-secret-key\r\n\r\n", {400}, id="no header"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"the-secret-key" * 2000 + b"\r\n\r\n", {400}, id="long"
        ),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"the-secret-key: a\r\n" * 500 + b"\r\n", {400}, id="many headers"),
        pytest.param(
            b"GET /" + b"the-secret-key" * 2000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}, id="long target"
        ),
        pytest.param(POST + b"Expect: the-secret-key\r\nContent-Length: 0\r\n\r\n", {417}, id="Expect"),
        pytest.param(POST + b"Transfer-Encoding: the-secret-key\r\n\r\n", {400}, id="Transfer-Encoding"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\nthe-secret-key\r\n", {400}, id="no chunk"),
        pytest.param(POST + b"Content-Length: the-secret-key\r\n\r\n", {400}, id="Content-Length"),
        pytest.param(
            POST + b"Content-Encoding: the-secret-key\r\nContent-Length: 1\r\n\r\nx", {415}, id="Content-Encoding"
        ),
        pytest.param(b"THESECRETKEY /v1/batches HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 405}, id="method"),
    ],
)
async def test_what_cannot_be_read_is_a_problem_that_repeats_nothing(request_text: bytes, statuses: set[int]) -> None:
    async with opened(Door(10)) as connect:
        client = await connect()
        await client.says(request_text)
        answer = await client.answer()
        assert of_problem(answer) in statuses
        assert b"secret" not in answer[2].lower()
        assert "secret" not in str(answer[1]).lower()


def bodies_app(bodies: BodyReader, then_s: float = 0) -> web.Application:
    """Answers how many octets the body has, after a while."""

    async def read(request: web.Request) -> web.Response:
        size = len(await bodies.read(request))
        await asyncio.sleep(then_s)
        return web.Response(text=str(size))

    app = web.Application(middlewares=[problem_middleware])
    app.router.add_post("/v1/batches", read)
    app.on_response_prepare.append(_as_the_api)
    return app


async def _as_the_api(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER


async def test_a_body_that_takes_too_long_is_408_and_the_end() -> None:
    async with opened(Door(10), bodies_app(BodyReader(1000, Times(read_s=0.3)))) as connect:
        client = await connect()
        await client.says(POST + b"Content-Length: 2\r\n\r\n[")
        _status, headers, _body = answer = await client.answer()
        assert (of_problem(answer), headers["connection"]) == (408, "close")
        assert await client.ended() == b""
