"""The handler of `/v1/receipts/{provider}`: who tells it is checked, the broker has it, and only then
it is said that we have it."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import structlog
from aiohttp import web

from services.api.intake.accepting import Broker
from services.api.metrics import RECEIPTS_REFUSED, RECEIPTS_TAKEN
from services.api.receipts.proof import Proof
from services.api.receipts.push import Heard, NotReceipts, Push, ReceiptFormat
from services.api.receipts.vendors import FORMATS
from services.api.serving.body_reader import BodyReader
from services.api.serving.problems import Problem, malformed, unavailable
from shared.clock import now_ms
from shared.domain.outgoing import Outgoing
from shared.errors import PublishError, Unroutable
from shared.ids import new_batch_id
from shared.messages import RECEIPTS_TYPE, ReceiptsMessage, WireReceipt
from shared.providers import Providers, wrong_providers
from shared.topology import RECEIPTS

LARGEST_PUSH = 1024 * 1024
_MALFORMED, _NO_PROVIDER = "malformed", "no_such_provider"

log = structlog.get_logger()


class _Known(NamedTuple):
    """A provider whose receipts are taken."""

    format: ReceiptFormat
    proof: Proof


class Receipts:
    """Takes what providers tell. `public_url` is where they reach us, over which signatures are."""

    def __init__(self, broker: Broker, public_url: str | None, publish_timeout_s: float) -> None:
        self._broker, self._public_url, self._publish_timeout_s = broker, public_url, publish_timeout_s
        self._bodies = BodyReader(LARGEST_PUSH)
        self._known: Mapping[str, _Known] = {}

    def use(self, providers: Providers) -> None:
        """Take the receipts of these from now on; SettingsError where a secret of theirs cannot be read."""
        known = {}
        for name, settings in providers.by_name.items():
            try:
                proof = Proof.of(settings)
            except ValueError as error:
                raise wrong_providers(f"providers.{name}.receipts: {error}") from None
            if proof is not None and settings.type in FORMATS:
                known[name] = _Known(FORMATS[settings.type], proof)
        self._known = known

    async def take(self, request: web.Request) -> web.Response:
        """Answered as the vendor expects it when the broker has confirmed; 503 where it has not, and the vendor calls
        again."""
        name = request.match_info["provider"]
        known = self._known.get(name)
        if known is None:
            RECEIPTS_REFUSED.labels("", _NO_PROVIDER).inc()
            raise Problem(HTTPStatus.NOT_FOUND, "No receipts are taken here.")
        push = await self._push(request)
        doubt = known.proof.doubt(push, request.match_info.get("secret"), request.remote or "", time.time())
        if doubt is not None:
            RECEIPTS_REFUSED.labels(name, doubt.value).inc()
            raise Problem(HTTPStatus.FORBIDDEN, "This is not known to come from the provider.")
        if (heard := known.format.check(push)) is not None:
            return _answer(heard)
        try:
            told = known.format.read(push)
        except (NotReceipts, UnicodeEncodeError) as error:
            RECEIPTS_REFUSED.labels(name, _MALFORMED).inc()
            raise malformed(f"No receipts of this provider: {error}") from None
        if told:
            await self._publish(name, told)
        return _answer(known.format.heard)

    async def _push(self, request: web.Request) -> Push:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("content-encoding", "identity") != "identity":
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body has an encoding; send it as it is.")
        base = self._public_url or f"{request.scheme}://{request.host}"
        query = list(request.query.items())
        return Push(request.method, f"{base}{request.raw_path}", query, headers, await self._bodies.read(request))

    async def _publish(self, provider: str, told: list[WireReceipt]) -> None:
        now = now_ms()
        message = ReceiptsMessage(provider=provider, received_at_ms=now, receipts=told)
        outgoing = Outgoing(
            exchange=RECEIPTS,
            routing_key=RECEIPTS,
            body=message.model_dump_json(exclude_none=True, exclude_defaults=True).encode(),
            type=RECEIPTS_TYPE,
            message_id=new_batch_id(now),
            correlation_id="",
            timestamp_s=now // 1000,
        )
        try:
            await self._broker.publisher.publish(outgoing, self._publish_timeout_s)
        except PublishError as error:
            if isinstance(error, Unroutable):
                self._broker.declaring.declare_again()
            log.warning("receipts_not_taken", provider=provider, reason=str(error), error=type(error).__name__)
            raise unavailable("The broker did not confirm the receipts; send them again.") from None
        RECEIPTS_TAKEN.labels(provider).inc(len(told))


def _answer(heard: Heard) -> web.Response:
    kind = "application/json" if heard.body else None
    return web.Response(status=heard.status, body=heard.body or None, content_type=kind)
