"""The handlers of `/v1/receipts/{provider}` and `/v1/inbound/{provider}`: who calls is checked, the broker has what
came, and only then it is said that we have it."""

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Generic, NamedTuple, Protocol, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel

from services.api.intake.accepting import Broker
from services.api.metrics import VENDOR_CALLS_REFUSED, VENDOR_ITEMS_TAKEN
from services.api.receipts.inbound import INBOUND_FORMATS
from services.api.receipts.proof import Doubt, Proof
from services.api.receipts.push import Heard, NotReceipts, Push
from services.api.receipts.vendors import FORMATS
from services.api.serving.body_reader import BodyReader
from services.api.serving.problems import Problem, malformed, unavailable
from shared.clock import now_ms
from shared.domain.outgoing import Outgoing
from shared.domain.receipts import ReceiptStatus
from shared.errors import PublishError, Unroutable
from shared.ids import new_batch_id
from shared.messages import INBOUND_TYPE, RECEIPTS_TYPE, InboundMessage, InboundText, ReceiptsMessage, WireReceipt
from shared.providers import Providers, wrong_providers
from shared.topology import INBOUND_QUEUE, RECEIPTS

LARGEST_PUSH = 1024 * 1024
_MALFORMED, _NO_PROVIDER = "malformed", "no_such_provider"

Item = TypeVar("Item", covariant=True)
log = structlog.get_logger()


class _Format(Protocol[Item]):
    """What receipts' formats and those of texts have in common."""

    heard: Heard

    def read(self, push: Push) -> Sequence[Item]: ...

    def check(self, push: Push) -> Heard | None: ...


class _Told(NamedTuple):
    """What goes to the broker."""

    routing_key: str
    type: str
    message: BaseModel


class VendorCalls:
    """Where vendors reach us. `public_url` is how they do, and what signatures are over."""

    def __init__(self, broker: Broker, public_url: str | None, publish_timeout_s: float) -> None:
        self._broker, self.public_url, self._publish_timeout_s = broker, public_url, publish_timeout_s
        self.bodies = BodyReader(LARGEST_PUSH)
        self._proofs: Mapping[str, tuple[str, Proof]] = {}

    def use(self, providers: Providers) -> None:
        """Let these call from now on; SettingsError where a secret of theirs cannot be read."""
        proofs = {}
        for name, settings in providers.by_name.items():
            try:
                proof = Proof.of(settings)
            except ValueError as error:
                raise wrong_providers(f"providers.{name}.receipts: {error}") from None
            if proof is not None and settings.type in FORMATS:
                proofs[name] = settings.type, proof
        self._proofs = proofs

    def of(self, name: str) -> tuple[str, Proof] | None:
        """A provider's type, and what its calls have to show; None where it is not to call."""
        return self._proofs.get(name)

    async def publish(self, provider: str, what: str, told: _Told, now: int) -> None:
        """Returns when the broker has it; Problem 503 where it has not, and the vendor calls again."""
        outgoing = Outgoing(
            exchange=RECEIPTS,
            routing_key=told.routing_key,
            body=told.message.model_dump_json(exclude_none=True, exclude_defaults=True).encode(),
            type=told.type,
            message_id=new_batch_id(now),
            correlation_id="",
            timestamp_s=now // 1000,
        )
        try:
            await self._broker.publisher.publish(outgoing, self._publish_timeout_s)
        except PublishError as error:
            if isinstance(error, Unroutable):
                self._broker.declaring.declare_again()
            log.warning(f"{what}_not_taken", provider=provider, reason=str(error), error=type(error).__name__)
            raise unavailable(f"The broker did not confirm the {what}; send them again.") from None


class _Door(Generic[Item]):
    """One kind of what vendors tell."""

    what: str
    """Receipts, or texts: for people, and as a label."""

    def __init__(self, calls: VendorCalls, formats: Mapping[str, _Format[Item]]) -> None:
        self._calls, self._formats = calls, formats

    def _told(self, provider: str, items: Sequence[Item], now: int) -> _Told:
        raise NotImplementedError

    def _news(self, items: Sequence[Item]) -> Sequence[Item]:
        """Those that change anything."""
        return items

    async def take(self, request: web.Request) -> web.Response:
        """Answered as the vendor expects it when the broker has confirmed."""
        name = request.match_info["provider"]
        known = self._calls.of(name)
        if known is None:
            self._refused("", _NO_PROVIDER)
            raise Problem(HTTPStatus.NOT_FOUND, f"No {self.what} are taken here.")
        kind, proof = known
        # Strangers' bodies would fill the room that vendors need.
        self._refuse(name, proof.doubt_of_place(request.match_info.get("secret"), request.remote or ""))
        push, form = await self._push(request), self._formats[kind]
        self._refuse(name, proof.doubt(push, time.time()))
        if (heard := form.check(push)) is not None:
            return _answer(heard)
        try:
            items = form.read(push)
        except (NotReceipts, UnicodeEncodeError) as error:
            self._refused(name, _MALFORMED)
            raise malformed(f"No {self.what} of this provider: {error}") from None
        if items := self._news(items):
            now = now_ms()
            await self._calls.publish(name, self.what, self._told(name, items, now), now)
            VENDOR_ITEMS_TAKEN.labels(self.what, name).inc(len(items))
        return _answer(form.heard)

    def _refuse(self, provider: str, doubt: Doubt | None) -> None:
        if doubt is not None:
            self._refused(provider, doubt.value)
            raise Problem(HTTPStatus.FORBIDDEN, "This is not known to come from the provider.")

    def _refused(self, provider: str, reason: str) -> None:
        VENDOR_CALLS_REFUSED.labels(self.what, provider, reason).inc()

    async def _push(self, request: web.Request) -> Push:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("content-encoding", "identity") != "identity":
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body has an encoding; send it as it is.")
        base = self._calls.public_url or f"{request.scheme}://{request.host}"
        url, query = f"{base}{request.raw_path}", list(request.query.items())
        return Push(request.method, url, query, headers, await self._calls.bodies.read(request))


class Receipts(_Door[WireReceipt]):
    """What became of texts."""

    what = "receipts"

    def __init__(self, calls: VendorCalls) -> None:
        super().__init__(calls, FORMATS)

    def _news(self, items: Sequence[WireReceipt]) -> Sequence[WireReceipt]:
        return [item for item in items if item.status is not ReceiptStatus.UNDER_WAY]

    def _told(self, provider: str, items: Sequence[WireReceipt], now: int) -> _Told:
        message = ReceiptsMessage(provider=provider, received_at_ms=now, receipts=list(items))
        return _Told(RECEIPTS, RECEIPTS_TYPE, message)


class Inbound(_Door[InboundText]):
    """Texts from handsets."""

    what = "texts"

    def __init__(self, calls: VendorCalls) -> None:
        super().__init__(calls, INBOUND_FORMATS)

    def _told(self, provider: str, items: Sequence[InboundText], now: int) -> _Told:
        message = InboundMessage(provider=provider, received_at_ms=now, texts=list(items))
        return _Told(INBOUND_QUEUE, INBOUND_TYPE, message)


def _answer(heard: Heard) -> web.Response:
    return web.Response(status=heard.status, body=heard.body or None, content_type=heard.kind if heard.body else None)
