"""Reading a request's body: bounded in size and time, and a few large ones at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from services.api.serving.problems import Problem, malformed, unavailable
from services.api.serving.room import FREE_BYTES, Held, Room

LARGE_BYTES = FREE_BYTES
_LARGE_AT_ONCE = 4

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Times:
    """In seconds: how long a body may take, after how long it gives way to others, and how long a large one waits."""

    read_s: float = 30
    slow_after_s: float = 5
    patience_s: float = 10


class BodyReader:
    """Keeps memory bounded: large bodies share what room there is, and are worked on a few at once."""

    def __init__(self, max_body_bytes: int, times: Times = Times()) -> None:
        self._max_body_bytes, self._times = max_body_bytes, times
        self._room = Room(_LARGE_AT_ONCE * max_body_bytes, times.patience_s, times.slow_after_s)
        self._turns = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._parsing = asyncio.Lock()

    @asynccontextmanager
    async def held(self, request: web.Request) -> AsyncIterator[bytes]:
        """The whole body, for as long as the block lasts; a Problem where it is too large, too slow or broken."""
        if request.content_length is not None and request.content_length > self._max_body_bytes:
            raise self._too_large()
        with self._room.body() as held:
            body = await self._whole(request, held)
            if len(body) <= LARGE_BYTES:
                yield body
                return
            await self._take_a_turn()
            try:
                yield body
            finally:
                self._turns.release()

    async def read(self, request: web.Request) -> bytes:
        """The whole body, where it is small."""
        async with self.held(request) as body:
            return body

    async def _whole(self, request: web.Request, held: Held) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._times.read_s) as held.deadline:
                while chunk := await request.content.readany():
                    if len(body) + len(chunk) > self._max_body_bytes:
                        raise self._too_large()
                    await self._room.grow(held, len(body) + len(chunk))
                    body += chunk
        except TimeoutError:
            detail = "too slowly while others waited" if held.gives_way else f"in more than {self._times.read_s:g} s"
            raise _closing(HTTPStatus.REQUEST_TIMEOUT, f"The body came {detail}") from None
        except (web.RequestPayloadError, HttpProcessingError):
            raise malformed("The body's encoding is broken") from None
        held.is_whole = True
        return bytes(body)

    async def _take_a_turn(self) -> None:
        try:
            async with asyncio.timeout(self._times.patience_s):
                await self._turns.acquire()
        except TimeoutError:
            raise unavailable("Too many large requests at once.") from None

    async def parse(self, body: bytes, parse: Callable[[bytes], Result]) -> Result:
        """What `parse` makes of the body; for a large one outside the event loop, so that others are answered."""
        if len(body) <= LARGE_BYTES:
            return parse(body)
        async with self._parsing:
            return await asyncio.to_thread(parse, body)

    def _too_large(self) -> Problem:
        return _closing(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {self._max_body_bytes} bytes")


def _closing(status: HTTPStatus, detail: str) -> Problem:
    # The rest of the body is not worth reading.
    return Problem(status, detail, closes_connection=True)
