"""The read side: batches, one batch, its numbers."""

from http import HTTPStatus

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from services.api import metrics
from services.api.batches.views import Shown, accepted_shown, batch_shown, dated, message_shown
from services.api.intake.idempotency import Idempotency
from services.api.ledger import Ledger
from services.api.serving.pages import cursor, document, limit, next_cursor, page
from services.api.serving.problems import Flaw, Problem, invalid
from shared.clock import now_ms
from shared.domain.ids import is_ours, known_spelling
from shared.domain.options import Tag
from shared.domain.states import State
from shared.statuses import Statuses

_LIVE_TTL_MS = 500
"""Of what no dispatcher writes: a batch that waits, or all of them where dispatchers know no Redis."""
_MAX_BIGINT = 2**63 - 1
_MAX_ROW = 2**31 - 1


class Batches:
    """The handlers of `GET /v1/batches…`, and the look-up that the events use too."""

    def __init__(self, ledger: Ledger, acceptances: Idempotency, statuses: Statuses) -> None:
        self._ledger, self._acceptances, self._statuses = ledger, acceptances, statuses

    async def list_batches(self, request: web.Request) -> web.Response:
        """Newest first."""
        size, before = limit(request.query, 50, 200), cursor(request.query, int, str)
        if before is not None and not (0 <= before[0] <= _MAX_BIGINT and is_ours(before[1])):
            raise invalid(Flaw("/cursor", "cursor must be a next_cursor of this list"))
        tag = _tag(request)
        found = await self._ledger.batches(size + 1, None if before is None else (before[0], before[1]), tag)
        shown, last = [batch_shown(view) for view in found[:size]], found[:size][-1:]
        following = next_cursor(last[0].accepted_at_ms, last[0].batch_id) if len(found) > size else None
        return page(request, "batches", shown, following)

    async def show_batch(self, request: web.Request) -> web.Response:
        """One batch with its counts."""
        batch = await self.find(request.match_info["batch_id"])
        return document(batch)

    async def list_messages(self, request: web.Request) -> web.Response:
        """A batch's numbers in row order."""
        batch_id = known_form(request.match_info["batch_id"])
        size, state, after = limit(request.query, 100, 1000), _state(request), cursor(request.query, int)
        after_row = -1 if after is None else after[0]
        if not -1 <= after_row <= _MAX_ROW:
            raise invalid(Flaw("/cursor", "cursor must be a next_cursor of this list"))
        found = await self._ledger.messages(batch_id, size + 1, state, after_row)
        following = next_cursor(found[size - 1].row) if len(found) > size else None
        return page(request, "messages", [message_shown(view) for view in found[:size]], following)

    async def find(self, batch_id: str) -> Shown:
        """The batch as it stood a moment ago, at its `as_of`; 404 where no api has given the id out."""
        batch_id = known_form(batch_id)
        if kept := await self._statuses.get(batch_id):
            metrics.STATUS_READS.labels("redis").inc()
            return dated(batch_shown(kept[0]), kept[1])
        return await self.fresh(batch_id)

    async def fresh(self, batch_id: str, *, after_command: bool = False) -> Shown:
        """The batch as it stands now, also for those who ask next; `after_command`: they see nothing older."""
        metrics.STATUS_READS.labels("ledger").inc()
        as_of_ms = now_ms()
        view = await self._ledger.batch(batch_id)
        if view is None:
            # Its 202 may have been given a moment ago: the dispatcher has not written it yet.
            return dated(accepted_shown(batch_id, await self._acceptances.find(batch_id)), as_of_ms)
        if after_command:
            await self._statuses.put_after_command(view, as_of_ms, _LIVE_TTL_MS)
        else:
            await self._statuses.put([view], as_of_ms, _LIVE_TTL_MS)
        return dated(batch_shown(view), as_of_ms)


def known_form(batch_id: str) -> str:
    """The id as it was given out, whatever its spelling; 404 where no api has given it out."""
    known = known_spelling(batch_id)
    if known is None:
        raise Problem(HTTPStatus.NOT_FOUND, "There is no batch with this id.")
    return known


def _tag(request: web.Request) -> str | None:
    text = request.query.get("tag")
    try:
        return None if text is None else _TAG.validate_python(text)
    except ValidationError:
        raise invalid(Flaw("/tag", "tag must be a label as a batch can have it")) from None


_TAG: TypeAdapter[str] = TypeAdapter(Tag)


def _state(request: web.Request) -> State | None:
    text = request.query.get("state")
    if text is None:
        return None
    try:
        return State(text)
    except ValueError:
        raise invalid(Flaw("/state", f"state must be one of {', '.join(State)}")) from None
