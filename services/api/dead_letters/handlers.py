"""Dead letters over HTTP: listed from the ledger, sent again and thrown away from their queue."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from services.api.batches.reading import known_form
from services.api.batches.views import Shown, attempt_shown, failed_group_shown, failed_shown, receipt_shown
from services.api.dead_letters.requests import DiscardRequest, ReplayRequest
from services.api.intake.accepting import JSON_TYPE, media_type
from services.api.intake.requests import epoch_ms, flaws
from services.api.intake.validation import read_json
from services.api.ledger import Ledger
from services.api.serving.body_reader import BodyReader
from services.api.serving.pages import cursor, document, limit, next_cursor, page
from services.api.serving.problems import Flaw, Problem, invalid, unavailable
from shared.dead_letters.handling import DeadLetterHandler, Limits, Tally
from shared.domain.dead_letter import Selection
from shared.domain.ids import is_ours, known_spelling
from shared.domain.phone import mask_numbers_in
from shared.ledger.dead_letters import FailedFilter
from shared.topology import DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE

_MAX_BODY_BYTES = 16 * 1024
_MAX_ROW = 2**31 - 1
_TIMEOUT_S = 50.0

Request = TypeVar("Request", bound=ReplayRequest)


class DeadLetters:
    """The handlers of `/v1/dead-letters…`, and of a number's attempts."""

    def __init__(self, ledger: Ledger, letters: DeadLetterHandler) -> None:
        self._ledger, self._letters, self._bodies = ledger, letters, BodyReader(_MAX_BODY_BYTES)
        self._one_at_a_time = asyncio.Lock()

    async def list_failed(self, request: web.Request) -> web.Response:
        """The failed numbers whose letters nobody threw away, with their reasons."""
        size, after = limit(request.query, 100, 1000), cursor(request.query, str, int)
        if after is not None and not (is_ours(after[0]) and 0 <= after[1] <= _MAX_ROW):
            raise invalid(Flaw("/cursor", "cursor must be a next_cursor of this list"))
        found = await self._ledger.failed(_filter(request), size + 1, None if after is None else (after[0], after[1]))
        shown, last = [failed_shown(number) for number in found[:size]], found[:size][-1:]
        following = next_cursor(last[0].batch_id, last[0].row) if len(found) > size else None
        return page(request, "dead_letters", shown, following)

    async def count_failed(self, request: web.Request) -> web.Response:
        """The same counted by code and provider."""
        groups = await self._ledger.failed_groups(_filter(request))
        return document({"groups": [failed_group_shown(group) for group in groups]})

    async def list_attempts(self, request: web.Request) -> web.Response:
        """Each attempt of a number, and the receipts that its own row does not tell of."""
        batch_id, row = known_form(request.match_info["batch_id"]), request.match_info["row"]
        is_row = row.isascii() and row.isdigit() and len(row) < 10
        attempts = await self._ledger.attempts(batch_id, int(row)) if is_row else None
        if attempts is None:
            raise Problem(HTTPStatus.NOT_FOUND, "The ledger has no such number.")
        receipts = await self._ledger.receipts(batch_id, int(row))
        shown = {"attempts": list(map(attempt_shown, attempts)), "receipts": list(map(receipt_shown, receipts))}
        return document(shown)

    async def replay(self, request: web.Request) -> web.Response:
        """Send dead letters again."""
        wanted = await self._read(request, ReplayRequest)

        async def replay(queue: str, selection: Selection, limits: Limits) -> Tally:
            return await self._letters.replay(queue, selection, limits, dry_run=wanted.dry_run)

        return await self._handled(wanted, replay)

    async def discard(self, request: web.Request) -> web.Response:
        """Throw dead letters away."""
        wanted = await self._read(request, DiscardRequest)
        reason = mask_numbers_in(wanted.reason)

        async def discard(queue: str, selection: Selection, limits: Limits) -> Tally:
            return await self._letters.discard(queue, selection, reason, limits, dry_run=wanted.dry_run)

        return await self._handled(wanted, discard)

    async def _read(self, request: web.Request, model: type[Request]) -> Request:
        media_type(request, [JSON_TYPE])
        members = read_json(await self._bodies.read(request))
        try:
            return model.model_validate(members)
        except ValidationError as error:
            raise invalid(*flaws(error, "recipients")) from None

    async def _handled(
        self, wanted: ReplayRequest, handle: Callable[[str, Selection, Limits], Awaitable[Tally]]
    ) -> web.Response:
        if self._one_at_a_time.locked():
            detail = "Another request about dead letters is under way"
            raise Problem(HTTPStatus.CONFLICT, detail, (), {"Retry-After": "1"})
        queue = DEAD_LETTER_BATCHES_QUEUE if wanted.batches else DEAD_LETTER
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    tally = await handle(queue, await self._selection(wanted), Limits(most=wanted.limit))
            except TimeoutError:
                raise unavailable("It takes long; what is done is done, the same request goes on.") from None
        return document(_tally_shown(wanted, tally))

    async def _selection(self, wanted: ReplayRequest) -> Selection:
        places = None if wanted.recipient is None else await self._ledger.places_of(wanted.recipient)
        return Selection(
            batch_id=wanted.batch_id,
            row=wanted.row,
            code=wanted.code,
            provider=wanted.provider,
            failed_before_ms=epoch_ms(wanted.failed_before),
            failed_after_ms=epoch_ms(wanted.failed_after),
            places=places,
        )


def _filter(request: web.Request) -> FailedFilter:
    batch_id = None
    if (given := request.query.get("batch_id")) is not None and (batch_id := known_spelling(given)) is None:
        raise invalid(Flaw("/batch_id", "batch_id must be a batch's id"))
    code, provider = (_word(request, name) for name in ("code", "provider"))
    return FailedFilter(batch_id, code, provider)


def _word(request: web.Request, name: str) -> str | None:
    text = request.query.get(name)
    if text is not None and "\0" in text:
        raise invalid(Flaw(f"/{name}", f"{name} must not contain the character NUL"))
    return text


def _tally_shown(wanted: ReplayRequest, tally: Tally) -> Shown:
    return {
        "dry_run": wanted.dry_run,
        "done": tally.done,
        "removed": dict(tally.removed),
        "left": dict(tally.left),
        "more": tally.done == wanted.limit,
    }
