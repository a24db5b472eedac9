"""Reading a request's body: bounded in size and time, and a few large ones at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from services.api.problems import Problem, malformed, unavailable

LARGE_BYTES = 64 * 1024
_READ_TIMEOUT_S = 60
_LARGE_AT_ONCE = 4
_WAIT_FOR_TURN_S = 10

Result = TypeVar("Result")


class Bodies:
    """Keeps memory bounded: large bodies wait for one of a few places, and are parsed one after the other."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._places = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._parsing = asyncio.Lock()

    @asynccontextmanager
    async def place(self, request: web.Request) -> AsyncIterator[None]:
        """Hold a place for as long as the request's body, or what was made of it, is in memory."""
        if not _is_large(request.content_length):
            yield
            return
        if request.content_length is not None and request.content_length > self._max_body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(_WAIT_FOR_TURN_S):
                await self._places.acquire()
        except TimeoutError:
            raise unavailable("Too many large requests at once.") from None
        try:
            yield
        finally:
            self._places.release()

    async def read(self, request: web.Request) -> bytes:
        """The whole body; a Problem where it is too large, too slow or broken."""
        body = bytearray()
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > self._max_body_bytes:
                        raise self._too_large()
        except TimeoutError:
            raise _closing(HTTPStatus.REQUEST_TIMEOUT, f"The body took more than {_READ_TIMEOUT_S} s") from None
        except (web.RequestPayloadError, HttpProcessingError):
            raise malformed("The body's encoding is broken") from None
        return bytes(body)

    async def parse(self, body: bytes, parse: Callable[[bytes], Result]) -> Result:
        """What `parse` makes of the body; for a large one outside the event loop, so that others are answered."""
        if len(body) <= LARGE_BYTES:
            return parse(body)
        async with self._parsing:
            return await asyncio.to_thread(parse, body)

    def _too_large(self) -> Problem:
        return _closing(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {self._max_body_bytes} bytes")


def _is_large(content_length: int | None) -> bool:
    """A body of unknown length (chunked) counts as large."""
    return content_length is None or content_length > LARGE_BYTES


def _closing(status: HTTPStatus, detail: str) -> Problem:
    # The rest of the body is not worth reading.
    return Problem(status, detail, closes_connection=True)
