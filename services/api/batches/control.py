"""Pausing, resuming and cancelling over HTTP."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from services.api.batches.reading import Batches, known_form
from services.api.ledger import Ledger
from services.api.serving.pages import document
from services.api.serving.problems import Problem
from shared.domain.states import BatchState

_NOT_YET_RETRY_S = 1


class Control:
    """The handlers of `POST /v1/batches/{batch_id}/pause`, `/resume` and `/cancel`; each may be repeated."""

    def __init__(self, ledger: Ledger, batches: Batches) -> None:
        self._ledger, self._batches = ledger, batches

    async def pause(self, request: web.Request) -> web.Response:
        """Begin no number of the batch any more, until it is resumed."""
        return await self._answer(request, self._ledger.pause, "paused", {BatchState.PAUSED})

    async def resume(self, request: web.Request) -> web.Response:
        """Go on with a paused batch."""
        return await self._answer(request, self._ledger.resume, "resumed", {BatchState.RUNNING, BatchState.SCHEDULED})

    async def cancel(self, request: web.Request) -> web.Response:
        """Never send what has not begun."""
        return await self._answer(request, self._ledger.cancel, "cancelled", {BatchState.CANCELLED})

    async def _answer(
        self,
        request: web.Request,
        command: Callable[[str], Awaitable[BatchState | None]],
        done: str,
        wanted: set[BatchState],
    ) -> web.Response:
        batch_id = known_form(request.match_info["batch_id"])
        state = await command(batch_id)
        if state is None:
            raise not_yet()
        shown = await self._batches.fresh(batch_id, after_command=True)
        if state not in wanted:
            raise Problem(HTTPStatus.CONFLICT, f"The batch is {state}: it cannot be {done} any more.")
        return document(shown)


def not_yet() -> Problem:
    """409 for a batch whose 202 was given a moment ago."""
    headers = {"Retry-After": str(_NOT_YET_RETRY_S)}
    return Problem(HTTPStatus.CONFLICT, "The batch is not in the ledger yet; try again in a moment.", (), headers)
