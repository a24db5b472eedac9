"""Sending the failed and expired numbers of a batch again, over HTTP."""

from http import HTTPStatus

import orjson
from aiohttp import web
from pydantic import ValidationError

from services.api.batches.control import not_yet
from services.api.batches.reading import known_form
from services.api.intake.accepting import JSON_TYPE, accepted, idempotency_key, key_of_another_request, media_type
from services.api.intake.requests import ResendRequest, check_schedule, epoch_ms, flaws
from services.api.intake.validation import fingerprint_of, read_json
from services.api.ledger import Ledger
from services.api.metrics import BATCHES_ACCEPTED, RECIPIENTS_ACCEPTED
from services.api.serving.access import BATCH_ID
from services.api.serving.auth import KeyedIds
from services.api.serving.body_reader import BodyReader
from services.api.serving.problems import Problem, invalid
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.domain.states import State
from shared.errors import NothingToResend
from shared.ids import new_batch_id
from shared.ledger.resending import Resend, Resent

_MAX_BODY_BYTES = 16 * 1024
_KIND = "\0resend"
"""Not the id that a POST of a batch has with a key: such a batch may be on the broker, where the ledger, which decides
about a resend, does not see it yet."""


class Resending:
    """The handler of `POST /v1/batches/{batch_id}/resend`.

    Nothing of it goes through the broker: the ledger takes the numbers from the old batch to the new one in one
    transaction, and the dispatcher feeds what is pending there, wherever it comes from.
    """

    def __init__(self, ledger: Ledger, keyed_ids: KeyedIds) -> None:
        self._ledger, self._keyed_ids, self._bodies = ledger, keyed_ids, BodyReader(_MAX_BODY_BYTES)

    async def post(self, request: web.Request) -> web.Response:
        """Make a batch of the numbers that are in these states and are not sent again already."""
        batch_id = known_form(request.match_info["batch_id"])
        key = idempotency_key(request)
        media_type(request, [JSON_TYPE])
        members = read_json(await self._bodies.read(request))
        new_id = new_batch_id(now_ms()) if key is None else await self._keyed_id(key)
        request[BATCH_ID] = new_id
        wanted = _wanted(batch_id, new_id, members)
        resent = await self._resent(wanted, keyed=key is not None)
        crash_at("api.resend_committed")
        if resent.fingerprint != wanted.fingerprint:
            raise key_of_another_request()
        if resent.is_new:
            BATCHES_ACCEPTED.inc()
            RECIPIENTS_ACCEPTED.inc(resent.recipients)
        return accepted(request, new_id, resent.recipients, resend_of=batch_id)

    async def _keyed_id(self, key: str) -> str:
        for earlier in self._keyed_ids.earlier(key, _KIND):
            if await self._ledger.batch(earlier):
                return earlier
        return self._keyed_ids.current(key, _KIND)

    async def _resent(self, wanted: Resend, *, keyed: bool) -> Resent:
        if keyed and (view := await self._ledger.batch(wanted.new_id)):
            return Resent(view.fingerprint, view.recipients, is_new=False)
        check_schedule(wanted.send_at_ms, wanted.expires_at_ms, now_ms())
        try:
            resent = await self._ledger.resend(wanted)
        except NothingToResend as error:
            raise Problem(HTTPStatus.CONFLICT, str(error)) from None
        if resent is None:
            raise not_yet()
        return resent


def _wanted(batch_id: str, new_id: str, members: object) -> Resend:
    try:
        request = ResendRequest.model_validate(members)
    except ValidationError as error:
        raise invalid(*flaws(error, "recipients")) from None
    states = frozenset(State(state) for state in request.states)
    send_at_ms, expires_at_ms = epoch_ms(request.send_at), epoch_ms(request.expires_at)
    meaning = {
        "resend_of": batch_id,
        "states": sorted(states),
        "send_at_ms": send_at_ms,
        "expires_at_ms": expires_at_ms,
    }
    fingerprint = fingerprint_of(orjson.dumps(meaning, option=orjson.OPT_SORT_KEYS))
    return Resend(batch_id, new_id, fingerprint, states, send_at_ms, expires_at_ms)
