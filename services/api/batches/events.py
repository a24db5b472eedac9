"""Server-sent events of a batch's counts, until nothing changes any more."""

import asyncio
import hashlib
from http import HTTPStatus

import orjson
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from services.api.batches.reading import Batches
from services.api.batches.views import Shown, is_final
from services.api.serving.auth import PRINCIPAL
from services.api.serving.peers import Places
from services.api.serving.problems import Problem
from shared.errors import LedgerUnavailable
from shared.lifecycle import stopped_within

_POLL_S = 0.5
_PING_S = 15
_SEND_TIMEOUT_S = 30
_UNKNOWN_S = 60
_TRY_LATER = {"Retry-After": "5"}


class Events:
    """The handler of `GET /v1/batches/{batch_id}/events`."""

    def __init__(self, batches: Batches, places: Places, stop: asyncio.Event, unknown_s: float = _UNKNOWN_S) -> None:
        self._batches, self._places, self._stop, self._unknown_s = batches, places, stop, unknown_s

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """An event at once, one for every change, and the last when every number is in a final state.

        An EventSource connects again whenever a stream ends. One that has the last event already is told with 204
        that nothing more will come.
        """
        batch = await self._batches.find(request.match_info["batch_id"])
        seen = request.headers.get("Last-Event-ID")
        if is_final(batch) and seen == event_id(batch):
            return web.Response(status=204)
        who = request[PRINCIPAL]
        if not self._places.enter(who):
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "Too many event streams at once.", (), _TRY_LATER)
        try:
            async with sse_response(request, ping_interval=_PING_S, send_timeout=_SEND_TIMEOUT_S) as response:
                await self._follow(request, response, batch, seen)
        finally:
            self._places.leave(who)
        return response

    async def _follow(
        self, request: web.Request, response: EventSourceResponse, batch: Shown, seen: str | None
    ) -> None:
        given_up_s = asyncio.get_running_loop().time() + self._unknown_s
        try:
            # The response notices only with its next ping that the client has gone.
            while request.transport is not None and response.is_connected():
                if (current := event_id(batch)) != seen:
                    await response.send(orjson.dumps(batch).decode(), id=current)
                    seen = current
                if is_final(batch) or await stopped_within(self._stop, _POLL_S):
                    return
                if _is_unknown(batch) and asyncio.get_running_loop().time() > given_up_s:
                    return  # the id may be made up; an EventSource that has it from a 202 connects again
                batch = await self._again(batch)
        except (ConnectionError, TimeoutError):
            return  # the client has gone

    async def _again(self, batch: Shown) -> Shown:
        try:
            return await self._batches.find(batch["batch_id"])
        except LedgerUnavailable:
            return batch  # the next look may succeed


def _is_unknown(batch: Shown) -> bool:
    return batch["recipients"] is None


def event_id(batch: Shown) -> str:
    """The same for the same status and counts, whichever process is asked."""
    meaning = orjson.dumps([batch["status"], batch["recipients"], batch["counts"]], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(meaning, digest_size=8).hexdigest()
