"""Calls by aiohttp's client: for providers that compress, behind a proxy, or that ask for a client certificate."""

import ssl
from dataclasses import dataclass
from math import inf
from types import SimpleNamespace
from typing import Any

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientProxyConnectionError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
    TraceConfig,
)
from aiohttp.connector import Connection
from multidict import CIMultiDict

from services.sender.transports import (
    CLOSED,
    KEEPALIVE_S,
    LONGEST_BODY,
    HttpAnswer,
    HttpRequest,
    UnreachableLog,
    lost,
    not_answered,
    not_connected,
    not_http,
)
from services.sender.transports.address import Address
from shared.domain.outcome import CallResult

_PIECE = 64 * 1024


class _Connector(TCPConnector):
    """aiohttp's pool lends a connection on which something came that nobody had asked for: it would be taken for the
    answer to the next call."""

    async def _get(self, key: Any, traces: Any) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        return None


@dataclass(slots=True)
class _Progress:
    """How far a call came: with a connection, a part of the request may have gone out."""

    has_connection: bool = False


class AiohttpTransport:
    """`proxy` is the URL of an HTTP proxy; `tls` has the certificate that servers are shown, and the authorities that
    are trusted, where those are not the system's."""

    def __init__(self, timeout_s: float, *, proxy: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._timeout_s, self._proxy, self._tls = timeout_s, proxy, tls
        self._session: ClientSession | None = None
        self._unreachable = UnreachableLog()

    async def open(self) -> None:
        """Make the pool; connections are made when they are needed."""
        tls = self._tls or ssl.create_default_context()
        self._session = ClientSession(
            connector=_Connector(limit=0, keepalive_timeout=KEEPALIVE_S, ssl=tls),
            timeout=ClientTimeout(total=self._timeout_s, connect=self._timeout_s / 2, ceil_threshold=inf),
            cookie_jar=DummyCookieJar(),
            trace_configs=[_tracing()],
        )
        # Else it calls once more by itself where a GET's connection is lost, and that may be a second text.
        self._session._retry_connection = False

    async def close(self) -> None:
        """Close the connections that wait; calls in flight are the caller's to end."""
        if self._session is not None:
            await self._session.close()

    async def send(self, request: HttpRequest) -> HttpAnswer | CallResult:
        """As `HttpTransport.send`."""
        if self._session is None:
            raise RuntimeError("open the transport before sending")
        address, progress = Address.of(request.url), _Progress()
        headers = CIMultiDict(address.headers(request.headers))
        try:
            async with self._session.request(
                request.method,
                address.url,
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
                proxy=self._proxy,
                trace_request_ctx=progress,
            ) as response:
                return await _answer(response)
        except (ClientError, OSError, ValueError, RuntimeError) as error:
            if progress.has_connection:
                return self._unclear(error)
            cause = _cause(error)
            by_proxy = isinstance(error, ClientHttpProxyError | ClientProxyConnectionError)
            self._unreachable.say("the proxy" if by_proxy else address.place, cause)
            return not_connected(cause)

    def _unclear(self, error: Exception) -> CallResult:
        if isinstance(error, TimeoutError):
            return not_answered(self._timeout_s)
        if isinstance(error, ClientResponseError):
            return not_http()
        return lost(CLOSED if isinstance(error, ServerDisconnectedError) else type(error.__cause__ or error).__name__)


def _tracing() -> TraceConfig:
    async def note(_session: ClientSession, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.has_connection = True

    tracing = TraceConfig()
    tracing.on_connection_create_end.append(note)
    tracing.on_connection_reuseconn.append(note)
    return tracing


async def _answer(response: ClientResponse) -> HttpAnswer | CallResult:
    if response.status < 200:
        return not_http()
    body = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > LONGEST_BODY:
            response.close()
            if 200 <= response.status < 300:
                return not_http()  # nobody knows how it would have gone on
            del body[LONGEST_BODY:]
            break
    return HttpAnswer(response.status, response.headers, bytes(body))


def _cause(error: Exception) -> BaseException:
    """What a person would look for: the certificate's flaw, or the system's error."""
    if isinstance(error, ClientConnectorCertificateError):
        return error.certificate_error
    return error.os_error if isinstance(error, ClientConnectorError) else error
