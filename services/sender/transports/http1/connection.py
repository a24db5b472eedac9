"""One connection to a provider."""

import asyncio
from collections.abc import Callable
from typing import cast

from services.sender.transports import CLOSED, HttpAnswer, lost, not_connected, not_http
from services.sender.transports.http1.answer import AnswerReader, MalformedAnswer
from shared.domain.outcome import CallResult


class Connection(asyncio.Protocol):
    """Carries one call at a time, and stays open only while all that arrived were whole answers, one to each request: a
    late answer must never be taken for that of another call.

    `on_closed` is called once, when the connection is gone.
    """

    def __init__(self, on_closed: Callable[["Connection"], None]) -> None:
        self._on_closed = on_closed
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[HttpAnswer | CallResult] | None = None

    @property
    def is_open(self) -> bool:
        """Whether another call may be made."""
        return self._transport is not None and not self._transport.is_closing()

    async def call(self, request: bytes, deadline_s: float, too_late: CallResult) -> HttpAnswer | CallResult:
        """Write the request and wait for its answer; `too_late` when none came until then, by the loop's clock.

        From the first byte on, whatever else happens is unclear.
        """
        if self._transport is None or self._transport.is_closing():
            return not_connected(ConnectionAbortedError())
        loop = asyncio.get_running_loop()
        self._reply = loop.create_future()
        timer = loop.call_at(deadline_s, self._give_up, too_late)
        self._transport.write(request)
        try:
            return await self._reply
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            timer.cancel()

    def abort(self) -> None:
        """Close at once; nothing that still arrives is looked at."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._is_waiting():
            self.abort()  # nobody asked for it
            return
        try:
            answer = self._reader.feed(data)
        except MalformedAnswer:
            self._give_up(not_http())
            return
        if answer is not None:
            self._answered(answer)

    def eof_received(self) -> None:
        answer = self._reader.end() if self._is_waiting() else None
        self._give_up(answer or lost(CLOSED))

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up(lost(type(exc).__name__ if exc else CLOSED))
        self._on_closed(self)

    def _is_waiting(self) -> bool:
        return self._transport is not None and self._reply is not None and not self._reply.done()

    def _answered(self, answer: HttpAnswer) -> None:
        # A provider that answered before it had the whole request may not read the rest of it as such.
        if not self._reader.another_may_follow or (self._transport and self._transport.get_write_buffer_size()):
            self.abort()
        self._settle(answer)

    def _give_up(self, result: HttpAnswer | CallResult) -> None:
        self.abort()
        self._settle(result)

    def _settle(self, result: HttpAnswer | CallResult) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(result)
