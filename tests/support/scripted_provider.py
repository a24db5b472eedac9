"""A provider that answers with bytes by a script, on 127.0.0.1, in the loop of the test."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

from yarl import URL

from services.sender.transports import HttpAnswer, HttpRequest, HttpTransport, not_answered
from services.sender.transports.http1.connection import Connection
from services.sender.transports.http1.transport import Http1Transport
from services.sender.transports.with_aiohttp import AiohttpTransport
from shared.domain.outcome import CallResult

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_LONGEST_WAIT_S = 20

ACCEPTED = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{"message_id":"1"}'


def accepted(message_id: str) -> bytes:
    body = b'{"message_id":"%b"}' % message_id.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@dataclass(frozen=True)
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """One connection, from the provider's side."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number, self.reader, self.writer = number, reader, writer
        self._was_left = asyncio.Event()

    async def request(self) -> Request:
        """The next request; an IncompleteReadError where the connection ends instead."""
        async with asyncio.timeout(_LONGEST_WAIT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii")
            line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
            headers = dict(each.split(": ", 1) for each in fields)
            return Request(line, headers, await self.reader.readexactly(int(headers.get("Content-Length", "0"))))

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def until_left(self) -> None:
        """In a script: read on until the client closes."""
        while await self.reader.read(64 * 1024):
            pass
        self.note_left()

    async def was_left(self) -> None:
        """In a test: wait until the client has closed; fails when it does not."""
        async with asyncio.timeout(_LONGEST_WAIT_S):
            await self._was_left.wait()

    def note_left(self) -> None:
        self._was_left.set()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close with a RST instead of a FIN."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class ScriptedProvider:
    """Where it listens, and the connections it has had."""

    url: str
    peers: list[Peer] = field(default_factory=list)


@asynccontextmanager
async def scripted(
    script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, sock: socket.socket | None = None
) -> AsyncIterator[ScriptedProvider]:
    """Run the script on each connection; what it raises, but for a client that closed, fails the test."""
    failures: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        peer = Peer(len(provider.peers), reader, writer)
        provider.peers.append(peer)
        try:
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            peer.note_left()
        except Exception as error:  # noqa: BLE001 - told to the test below
            failures.append(error)
        finally:
            writer.close()

    where: dict[str, Any] = {"sock": sock} if sock else {"host": host, "port": 0}
    server = await asyncio.start_server(serve, **where, ssl=tls, limit=1024 * 1024)
    port = server.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    provider = ScriptedProvider(f"{'https' if tls else 'http'}://{shown}:{port}/messages")
    try:
        yield provider
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not failures, failures


@dataclass(frozen=True)
class Caller:
    """Calls one URL by one transport."""

    transport: HttpTransport
    url: str

    async def post(self, body: bytes, method: Literal["GET", "POST", "PUT"] = "POST") -> HttpAnswer | CallResult:
        headers = (("Content-Type", "application/json"),)
        return await self.transport.send(HttpRequest(method, self.url, headers, body))


@asynccontextmanager
async def opened_by(make: Callable[[float], HttpTransport], url: str, timeout_s: float = 10) -> AsyncIterator[Caller]:
    transport = make(timeout_s)
    await transport.open()
    try:
        yield Caller(transport, url)
    finally:
        await transport.close()


class Open(Protocol):
    """`opened_by` with the transport that a test is about."""

    def __call__(self, url: str, timeout_s: float = 10) -> AbstractAsyncContextManager[Caller]: ...


open_http1: Open = partial(opened_by, Http1Transport)
open_aiohttp: Open = partial(opened_by, AiohttpTransport)


def always(*answers: bytes) -> Script:
    """On each connection, one of these for each request, and the last of them for all that follow."""

    async def script(peer: Peer) -> None:
        for number in range(1000):
            await peer.request()
            await peer.send(answers[min(number, len(answers) - 1)])

    return script


def port_of(provider: ScriptedProvider) -> int:
    return URL(provider.url).port or 0


async def connected(connection: Connection, provider: ScriptedProvider) -> Connection:
    """The connection, connected without a transport."""
    await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", port_of(provider))
    return connection


async def call_over(connection: Connection) -> HttpAnswer | CallResult:
    """A call over this connection, without a transport."""
    deadline_s = asyncio.get_running_loop().time() + _LONGEST_WAIT_S
    request = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    return await connection.call(request, deadline_s, not_answered(_LONGEST_WAIT_S))
