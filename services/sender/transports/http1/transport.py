"""Calls over connections that are kept."""

import asyncio
import functools
import ssl
from dataclasses import dataclass

from services.sender.transports import HttpAnswer, HttpRequest, UnreachableLog, not_answered, not_connected
from services.sender.transports.address import Address
from services.sender.transports.http1.connection import Connection
from services.sender.transports.http1.connection_pool import IdleConnections
from services.sender.transports.http1.dialing import Dialer, trusting_the_systems_authorities
from services.sender.transports.http1.resolver import KnownAddresses
from shared.domain.outcome import CallResult

_HEADS_KEPT = 64


class _Server:
    """One server, and the connections to it."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        self.place = address.place
        self.idle = IdleConnections()
        self.dialer = Dialer(address.host, KnownAddresses(address.host, address.port), tls)

    def close(self) -> None:
        self.idle.close()
        self.dialer.close()


@dataclass(frozen=True, slots=True)
class _Head:
    """A request up to its body's length: the same for one call after the other."""

    server: _Server
    octets: bytes

    def with_body(self, body: bytes) -> bytes:
        return b"%b%d\r\n\r\n%b" % (self.octets, len(body), body)


class Http1Transport:
    """A call takes an idle connection or makes one; how many are in flight is the caller's to bound."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._too_late = not_answered(timeout_s)
        self._is_open = False
        self._servers: dict[tuple[str, int, bool], _Server] = {}
        self._heads: dict[tuple[object, ...], _Head] = {}
        self._unreachable = UnreachableLog()

    async def open(self) -> None:
        """From here on calls may be made; connections are made when they are needed."""
        self._is_open = True

    async def close(self) -> None:
        """Close the connections that wait; calls in flight are the caller's to end."""
        for server in self._servers.values():
            server.close()
        await asyncio.sleep(0)  # closed transports let go of their sockets in the loop's next round

    async def send(self, request: HttpRequest) -> HttpAnswer | CallResult:
        """As `HttpTransport.send`."""
        if not self._is_open:
            raise RuntimeError("open the transport before sending")
        head = self._heads.get(request[:3]) or self._made_head(request)
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            connection = head.server.idle.take() or await self._connected(head.server)
        except (OSError, ValueError, RuntimeError) as error:
            self._unreachable.say(head.server.place, error)
            return not_connected(error)
        result = await connection.call(head.with_body(request.body), deadline_s, self._too_late)
        head.server.idle.put(connection)
        return result

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """Read for the first https address: the system's authorities take 50 ms of CPU, which others need not pay."""
        return trusting_the_systems_authorities()

    def _made_head(self, request: HttpRequest) -> _Head:
        address = Address.of(request.url)
        if len(self._heads) >= _HEADS_KEPT:
            self._heads.clear()
        head = self._heads[request[:3]] = _Head(self._server(address), head_of(request, address))
        return head

    def _server(self, address: Address) -> _Server:
        key = (address.host, address.port, address.is_https)
        if key not in self._servers:
            self._servers[key] = _Server(address, self._tls if address.is_https else None)
        return self._servers[key]

    async def _connected(self, server: _Server) -> Connection:
        connection = Connection(server.idle.discard)
        async with asyncio.timeout(self._timeout_s / 2):
            await server.dialer.dial(connection)
        return connection


def head_of(request: HttpRequest, address: Address) -> bytes:
    """The request's bytes up to its length, which stands behind them with an empty line and the body."""
    fields = [
        ("Host", address.url.host_port_subcomponent),
        ("Accept-Encoding", "identity"),  # we do not decompress
        *address.headers(request.headers),
    ]
    lines = [f"{request.method} {address.url.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "Content-Length: "]).encode("ascii")
