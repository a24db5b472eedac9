"""Accepting batches: from a POST to a message that the broker has confirmed, and only then to a 202."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from math import ceil
from typing import NamedTuple, Protocol

import orjson
from aiohttp import web

from services.api.batches.views import links
from services.api.intake.accepted_sentence import accepted_sentence
from services.api.intake.idempotency import Acceptance, Idempotency, Verdict
from services.api.intake.multipart import boundary_of
from services.api.intake.requests import check_schedule
from services.api.intake.validation import (
    JSON,
    JSON_LIKE_FORM,
    Prepared,
    Source,
    multipart_form,
    prepare,
    provider_test,
    urlencoded_form,
)
from services.api.metrics import BATCHES_ACCEPTED, PUBLISH_SECONDS, PUBLISHES_FAILED, RECIPIENTS_ACCEPTED
from services.api.serving.access import BATCH_ID
from services.api.serving.auth import KeyedIds
from services.api.serving.body_reader import BodyReader
from services.api.serving.problems import Flaw, Problem, invalid, unavailable
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.domain.outgoing import Outgoing
from shared.domain.states import BatchState
from shared.errors import PublishError, Rejected, Unconfirmed, Unroutable
from shared.ids import new_batch_id
from shared.messages import BATCH_TYPE, RECIPIENTS_HEADER
from shared.topology import BATCHES, Lane

JSON_TYPE = "application/json"
_URLENCODED, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


class Publisher(Protocol):
    """What intake needs of the broker: a return means confirmed, a PublishError anything else."""

    async def publish(self, outgoing: Outgoing, timeout_s: float) -> None: ...


class Declaring(Protocol):
    """Whoever sees to it that the broker has what it should have."""

    def declare_again(self) -> None: ...


class Policies(Protocol):
    """Whoever looks at the broker's policies."""

    every_s: float

    @property
    def lets_accept(self) -> bool: ...

    @property
    def refusal(self) -> str: ...


class Broker(NamedTuple):
    """The broker as intake needs it."""

    publisher: Publisher
    declaring: Declaring
    policies: Policies


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be, and how long its publish may take."""

    max_recipients: int
    providers: tuple[str, ...]
    """Those that a batch may be pinned to."""
    publish_timeout_s: float


class Intake:
    """The handlers of `POST /v1/batches` and `POST /send-sms`, and what a test of a provider is accepted by."""

    def __init__(
        self,
        bodies: BodyReader,
        acceptances: Idempotency,
        keyed_ids: KeyedIds,
        broker: Broker,
        limits: Limits,
    ) -> None:
        self._bodies, self._acceptances, self._keyed_ids = bodies, acceptances, keyed_ids
        self._broker, self._limits = broker, limits

    async def post_batch(self, request: web.Request) -> web.Response:
        """JSON as the contract has it."""
        media_type(request, [JSON_TYPE])
        return await self._accept(request, JSON)

    async def send_sms(self, request: web.Request) -> web.Response:
        """What a jQuery form sends, or any other form, or JSON with the same names."""
        return await self._accept(request, _source(request))

    async def post_test(self, request: web.Request, provider: str, lane: Lane) -> web.Response:
        """JSON with one number: a batch that goes by this provider only."""
        media_type(request, [JSON_TYPE])
        return await self._accept(request, provider_test(provider, lane))

    async def _accept(self, request: web.Request, source: Source) -> web.Response:
        key = idempotency_key(request)
        async with self._bodies.held(request) as body:
            parse = partial(
                prepare, source=source, max_recipients=self._limits.max_recipients, providers=self._limits.providers
            )
            prepared = await self._bodies.parse(body, parse)
            accepted_at_ms = now_ms()
            batch_id = new_batch_id(accepted_at_ms) if key is None else await self._keyed_id(key)
            request[BATCH_ID] = batch_id
            mine = Acceptance(prepared.fingerprint, prepared.recipients, accepted_at_ms)
            if key is None or await self._is_new(batch_id, mine):
                await self._publish(batch_id, prepared, mine, keyed=key is not None)
        return accepted(request, batch_id, prepared.recipients)

    async def _keyed_id(self, key: str) -> str:
        return await self._acceptances.known_as(self._keyed_ids.current(key), self._keyed_ids.earlier(key))

    async def _is_new(self, batch_id: str, mine: Acceptance) -> bool:
        verdict = await self._acceptances.begin(batch_id, mine)
        if verdict is Verdict.OTHER_REQUEST:
            raise key_of_another_request()
        if verdict is Verdict.UNDER_WAY:
            detail = "A request with this Idempotency-Key is under way"
            raise Problem(HTTPStatus.CONFLICT, detail, (), {"Retry-After": "1"})
        return verdict is Verdict.NEW

    async def _publish(self, batch_id: str, prepared: Prepared, mine: Acceptance, *, keyed: bool) -> None:
        is_confirmed = False
        try:
            check_schedule(prepared.send_at_ms, prepared.expires_at_ms, mine.accepted_at_ms)
            self._refuse_what_policies_may_lose()
            crash_at("api.publishing")
            await self._confirmed(_outgoing(batch_id, prepared, mine))
            crash_at("api.confirmed")
            is_confirmed = True
        except Unconfirmed:
            if keyed:
                self._acceptances.unsure(batch_id, mine)
            raise
        finally:
            if not is_confirmed and keyed:
                await self._acceptances.given_up(batch_id)
        await self._acceptances.accepted(batch_id, mine, keyed=keyed)
        BATCHES_ACCEPTED.inc()
        RECIPIENTS_ACCEPTED.inc(prepared.recipients)

    def _refuse_what_policies_may_lose(self) -> None:
        policies = self._broker.policies
        if not policies.lets_accept:
            raise unavailable(f"Nothing is accepted at the moment: {policies.refusal}.", ceil(policies.every_s))

    async def _confirmed(self, outgoing: Outgoing) -> None:
        begun_s = time.perf_counter()
        try:
            await self._broker.publisher.publish(outgoing, self._limits.publish_timeout_s)
        except PublishError as error:
            PUBLISHES_FAILED.labels(type(error).__name__).inc()
            if isinstance(error, Unroutable | Rejected):
                self._broker.declaring.declare_again()
            raise
        PUBLISH_SECONDS.observe(time.perf_counter() - begun_s)


def idempotency_key(request: web.Request) -> str | None:
    """The header, where it is given; Problem where it cannot be a key."""
    key = request.headers.get("Idempotency-Key")
    if key is None or (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        return key
    raise invalid(Flaw("", "Idempotency-Key must have 1 to 255 printable ASCII characters"))


def key_of_another_request() -> Problem:
    """422 for a key whose first request meant something else."""
    return invalid(Flaw("", "This Idempotency-Key was used for another request"))


def media_type(request: web.Request, taken: Collection[str]) -> str:
    """The media type of the request's body; Problem where it is none of those that are taken.

    Nothing is inflated: a few kilobytes can become gigabytes.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        detail = "Send the body as it is, without a Content-Encoding"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, closes_connection=True)
    try:
        given, charset = request.content_type, (request.charset or "utf-8").lower()
    except (ValueError, LookupError):  # of the standard library, for parameters that it decodes
        given, charset = "", ""
    if given not in taken or (given == JSON_TYPE and charset not in ("utf-8", "utf8")):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send {' or '.join(taken)}; JSON in UTF-8")
    return given


def _source(request: web.Request) -> Source:
    """How the body of a `POST /send-sms` is read."""
    match media_type(request, [_URLENCODED, _MULTIPART, JSON_TYPE]):
        case "application/x-www-form-urlencoded":
            return urlencoded_form(request.charset)
        case "multipart/form-data":
            return multipart_form(boundary_of(request.headers["Content-Type"]), request.charset)
    return JSON_LIKE_FORM


def _outgoing(batch_id: str, prepared: Prepared, mine: Acceptance) -> Outgoing:
    return Outgoing(
        exchange=BATCHES,
        routing_key=BATCHES,
        body=prepared.message(batch_id, mine.accepted_at_ms),
        type=BATCH_TYPE,
        message_id=batch_id,
        correlation_id=batch_id,
        timestamp_s=mine.accepted_at_ms // 1000,
        headers={RECIPIENTS_HEADER: prepared.recipients},
    )


def accepted(request: web.Request, batch_id: str, recipients: int, **more: str) -> web.Response:
    """The 202 for a batch."""
    place = f"/v1/batches/{batch_id}"
    body = {
        "success": True,
        "message": accepted_sentence(request.headers.get("Accept-Language", "")),
        "batch_id": batch_id,
        "status": BatchState.ACCEPTED,
        "recipients": recipients,
        "links": links(batch_id),
        **more,
    }
    return web.Response(status=202, body=orjson.dumps(body), content_type=JSON_TYPE, headers={"Location": place})
