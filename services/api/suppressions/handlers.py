"""The handlers of `/v1/suppressions`."""

import re
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from services.api.batches.views import Shown
from services.api.intake.accepting import JSON_TYPE, media_type
from services.api.intake.requests import flaws
from services.api.intake.validation import read_json
from services.api.ledger import Ledger
from services.api.serving.body_reader import BodyReader
from services.api.serving.pages import cursor, document, limit, next_cursor, page
from services.api.serving.problems import Flaw, invalid
from services.api.suppressions.requests import E164, AddRequest, RemoveRequest
from shared.clock import now_ms
from shared.domain.phone import mask, mask_numbers_in
from shared.domain.times import rfc3339
from shared.ledger.suppressions import Source, Suppression

_MAX_BODY_BYTES = 512 * 1024

Request = TypeVar("Request", bound=BaseModel)


class Suppressions:
    """Numbers that opted out: shown masked, added and removed by whoever has a key."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._bodies = ledger, BodyReader(_MAX_BODY_BYTES)

    async def list_all(self, request: web.Request) -> web.Response:
        """The list in the order in which it grew; of one number with `?recipient=`."""
        size, after = limit(request.query, 100, 1000), cursor(request.query, int)
        recipient = request.query.get("recipient")
        if recipient is not None and not re.fullmatch(E164, recipient):
            raise invalid(Flaw("/recipient", "recipient must be a number in E.164, such as +8613800138000"))
        if after is not None and not 0 <= after[0] < 2**63:
            raise invalid(Flaw("/cursor", "cursor must be a next_cursor of this list"))
        found = await self._ledger.suppressions(size + 1, after[0] if after else 0, recipient)
        following = next_cursor(found[size - 1][0]) if len(found) > size else None
        return page(request, "suppressions", [_shown(entry) for _id, entry in found[:size]], following)

    async def add(self, request: web.Request) -> web.Response:
        """Put numbers on the list; from then on no call to them begins."""
        wanted = await self._read(request, AddRequest)
        reason = None if wanted.reason is None else mask_numbers_in(wanted.reason)
        now = now_ms()
        entries = [Suppression(to, wanted.sender_name, Source.OPERATOR, reason, now) for to in wanted.recipients]
        added = await self._ledger.suppress(entries)
        return document({"added": added, "known": len(set(wanted.recipients)) - added})

    async def remove(self, request: web.Request) -> web.Response:
        """Take numbers off the list."""
        wanted = await self._read(request, RemoveRequest)
        return document({"removed": await self._ledger.unsuppress(wanted.recipients, wanted.sender_name)})

    async def _read(self, request: web.Request, model: type[Request]) -> Request:
        media_type(request, [JSON_TYPE])
        members = read_json(await self._bodies.read(request))
        try:
            return model.model_validate(members)
        except ValidationError as error:
            raise invalid(*flaws(error, "recipients")) from None


def _shown(entry: Suppression) -> Shown:
    return {
        "recipient": mask(entry.recipient),
        "sender_name": entry.sender_name,
        "source": entry.source,
        "reason": entry.reason,
        "added_at": rfc3339(entry.added_at_ms),
    }
