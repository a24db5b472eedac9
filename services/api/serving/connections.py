"""The connections of clients: how many there may be, how long each may take, and what is said where no handler runs."""

import asyncio
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http import RawRequestMessage

from services.api.serving.peers import Places, network_of
from services.api.serving.problems import SERVER, Problem, from_aiohttp, problem_response, raw_answer, unavailable
from shared.sampling import Sampled

_OTHER_FILES = 100
"""File descriptors for the broker, the database, Redis and what else a process has open."""
_LINES_A_SECOND = 10
_MOST_HEADERS = 64
_MOST_HEADER_BYTES = 32 * 1024
"""Of one request's header, and of the headers of the requests that wait behind one on its connection."""
_TOO_LARGE = raw_answer(
    Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The header has more than {_MOST_HEADER_BYTES} bytes.")
)
_LATE = raw_answer(Problem(HTTPStatus.REQUEST_TIMEOUT, "The request's header took too long."))
_FULL = raw_answer(unavailable("Too many connections at once."))

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds: until a header is there, between two requests, for what a client does not read, and how much longer
    the body of a request that was refused is read, so that the client sees the answer."""

    header_s: float = 10
    keep_alive_s: float = 75
    unread_s: float = 30
    lingering_s: float = 2


class Door:
    """Where connections come in."""

    def __init__(self, most: int, timeouts: Timeouts = Timeouts()) -> None:
        self.timeouts = timeouts
        # Half of them at the most for one address: it keeps nobody else out.
        self.places = Places(most, (most + 1) // 2)
        self._lines = Sampled(_LINES_A_SECOND, lambda event, more: log.warning(f"{event}_more", more=more))

    async def listen(self, server: web.Server, host: str, port: int) -> asyncio.Server:
        """Take connections for an application's server."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Connection(self, server, loop), host, port)

    def note(self, event: str, address: str, reason: str | None = None) -> None:
        """A line in the log, a few a second of one kind."""
        if self._lines.admits(event):
            log.warning(event, client=address, reason=reason)


def most_connections(wanted: int, file_limit: int) -> int:
    """How many connections there may be where the process may have so many files open."""
    return wanted if file_limit == resource.RLIM_INFINITY else max(1, min(wanted, file_limit - _OTHER_FILES))


def file_limit() -> int:
    """How many files, and so connections, this process may have open (RLIMIT_NOFILE)."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Connection(web.RequestHandler):
    """aiohttp's, with what it lacks: a time for the header, a place, and problem documents.

    Of aiohttp's own state it reads whether the connection waits for a request (`_waiter`), which one is being answered
    (`_current_request`), which wait behind it (`_messages`) and how many there were (`_request_count`).
    """

    __slots__ = ("_address", "_door", "_header_bytes", "_is_admitted", "_late", "_unread")

    def __init__(self, door: Door, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        # Nothing is inflated, not even what nobody reads: `intake.media_type` refuses it.
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to have none
            auto_decompress=False,
            max_headers=_MOST_HEADERS,
            keepalive_timeout=door.timeouts.keep_alive_s,
            lingering_time=door.timeouts.lingering_s,
        )
        self._door, self._address, self._is_admitted, self._header_bytes = door, "", False, 0
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer 503 where there is no place, else wait for a header."""
        self._address = str((transport.get_extra_info("peername") or ("",))[0])
        self._is_admitted = self._door.places.enter(network_of(self._address))
        if self._is_admitted:
            super().connection_made(transport)
            self._late = self._loop.call_later(self._door.timeouts.header_s, self._give_up)
            return
        self._door.note("connection_refused", self._address, "too many connections")
        cast(asyncio.Transport, transport).write(_FULL)
        transport.close()
        self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        if self._is_admitted:
            self._is_admitted = False
            self._door.places.leave(network_of(self._address))
        self._late, self._unread = _cancelled(self._late), _cancelled(self._unread)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """The header's time begins with its first octet, on a new connection with the connection."""
        # Not what ends a body that is being read: it is looked at before.
        is_header = self._waits_for_a_request() or self._is_behind_a_request()
        requests = self._request_count
        super().data_received(data)
        if self._request_count > requests:
            self._late, self._header_bytes = _cancelled(self._late), 0
            if self._messages and _size(self._messages) > _MOST_HEADER_BYTES:
                self.force_close()
        elif data and is_header:
            self._part_of_header_received(len(data))

    def _part_of_header_received(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _MOST_HEADER_BYTES:
            self._close_with(_TOO_LARGE)
        elif self._late is None and self._waits_for_a_request():
            self._late = self._loop.call_later(self._door.timeouts.header_s, self._give_up)

    def pause_writing(self) -> None:
        """The client does not read: for a while that may be."""
        super().pause_writing()
        if self.transport is not None:
            self._unread = self._loop.call_later(self._door.timeouts.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._unread = _cancelled(self._unread)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A problem document that repeats nothing of the request, as what aiohttp says would."""
        self._door.note("request_not_answered", self._address, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        detail = "The request cannot be read." if status < HTTPStatus.INTERNAL_SERVER_ERROR else "Something went wrong."
        response = problem_response(Problem(HTTPStatus(status), detail, closes_connection=True))
        response.headers["Server"] = SERVER
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """What was raised before any middleware of ours ran (417) is a problem document too."""
        if isinstance(resp, web.HTTPException):
            resp = problem_response(from_aiohttp(request, resp))
        return await super().finish_response(request, resp, start_time)

    def _waits_for_a_request(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _is_behind_a_request(self) -> bool:
        return self._current_request is not None and self._current_request.content.is_eof()

    def _give_up(self) -> None:
        self._late = None
        if self._waits_for_a_request():
            self._close_with(_LATE)

    def _close_with(self, answer: bytes) -> None:
        if self.transport is not None and self._waits_for_a_request():
            self.transport.write(answer)
        self.force_close()


def _size(messages: Iterable[tuple[object, object]]) -> int:
    """How many octets the headers of parsed requests have."""
    parsed = (message for message, _ in messages if isinstance(message, RawRequestMessage))
    return sum(len(name) + len(value) for message in parsed for name, value in message.raw_headers)


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """No timer any more."""
    if timer is not None:
        timer.cancel()
    return None
