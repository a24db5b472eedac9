"""The messages on the broker: one per batch, one per number, one per push of receipts."""

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import NotRequired, TypedDict

from shared.domain.message import message_id
from shared.domain.options import BatchOptions
from shared.domain.receipts import Receipt, ReceiptStatus, Reference
from shared.errors import UnreadableMessage
from shared.topology import Lane

BATCH_TYPE = "sms.batch.v1"
OUTBOUND_TYPE = "sms.outbound.v1"
RECEIPTS_TYPE = "sms.receipts.v1"
INBOUND_TYPE = "sms.inbound.v1"
RECIPIENTS_HEADER = "x-recipients"
"""A batch message's header: how many recipients it has, also for who cannot read its body."""

Model = TypeVar("Model", bound=BaseModel)
BatchId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Count = Annotated[int, Field(ge=0, lt=2**31)]
"""What the ledger's integer columns can hold."""
TimeMs = Annotated[int, Field(ge=0, lt=2**43)]
"""Milliseconds since the epoch, up to the year 2248."""


class WireRecipient(TypedDict):
    """A recipient with variables of its own."""

    to: str
    variables: NotRequired[dict[str, str]]


class BatchMessage(BatchOptions):
    """One accepted batch, from the api to the dispatcher; AMQP type `sms.batch.v1`.

    `recipients` are as the front end gave them; `fingerprint` is a digest of the request's meaning, by which the
    dispatcher tells a repeated publish of one batch from another batch under the same idempotency key.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    batch_id: BatchId
    fingerprint: str
    accepted_at_ms: TimeMs
    recipients: Annotated[list[str | WireRecipient], Field(min_length=1)]
    content: str | None = None
    template_id: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    variables: dict[str, str] = Field(default_factory=dict)
    send_at_ms: TimeMs | None = None
    expires_at_ms: TimeMs | None = None


class OutboundMessage(BaseModel):
    """One number's turn, from the dispatcher to the senders; AMQP type `sms.outbound.v1`.

    A reference, not the content: the claim in the ledger returns number and text. `attempt` is how many attempts came
    before; it fences off stale copies. `recipient` is masked, for people who read the queue. `not_before_ms` is set
    where the provider asked for a longer pause than a retry tier gives. `segments` is what the text is billed as.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    batch_id: BatchId
    row: Count
    attempt: Count
    recipient: str = ""
    lane: Lane = Lane.BULK
    not_before_ms: TimeMs | None = None
    segments: Annotated[int, Field(ge=1, lt=2**15)] = 1

    @property
    def message_id(self) -> str:
        """The number's reference: on the broker, at the provider, in the logs."""
        return message_id(self.batch_id, self.row)


class WireReceipt(BaseModel):
    """A receipt as it goes over the broker; `reference` is the word that the vendor gave back."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: ReceiptStatus
    reference: str | None = None
    recipient: str | None = None
    message_id: str | None = None
    code: str | None = None
    reason: str | None = None
    at_ms: TimeMs | None = None
    is_of_a_part: bool = False

    def read(self, provider: str) -> Receipt:
        """The receipt."""
        reference = Reference.read(self.reference)
        own = self.recipient, self.message_id, self.code, self.reason, self.at_ms, self.is_of_a_part
        return Receipt(provider, self.status, reference, *own)


class ReceiptsMessage(BaseModel):
    """What a provider pushed at once, from the api to the dispatcher; AMQP type `sms.receipts.v1`.

    `received_at_ms` is when it came, `first_look_at_ms` when it was looked at first, of one that comes again.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    provider: Annotated[str, Field(min_length=1, max_length=64)]
    received_at_ms: TimeMs
    receipts: list[WireReceipt]
    first_look_at_ms: TimeMs | None = None


class InboundText(BaseModel):
    """A text from a handset: `sender` in E.164, `at_ms` when it was sent, as the vendor has it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sender: Annotated[str, Field(pattern=r"^\+[0-9]{7,15}$")]
    text: Annotated[str, Field(max_length=10_000)]
    message_id: str | None = None
    at_ms: TimeMs | None = None


class InboundMessage(BaseModel):
    """The texts that a provider passed on at once, from the api to the dispatcher; AMQP type `sms.inbound.v1`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    provider: Annotated[str, Field(min_length=1, max_length=64)]
    received_at_ms: TimeMs
    texts: list[InboundText]


def outbound_body(
    batch_id: str,
    row: int,
    attempt: int,
    recipient: str,
    lane: str,
    not_before_ms: int | None = None,
    segments: int = 1,
) -> bytes:
    """An `OutboundMessage` as it goes onto the broker; `recipient` is masked already."""
    fields: dict[str, str | int] = {
        "batch_id": batch_id, "row": row, "attempt": attempt, "recipient": recipient, "lane": lane
    }  # fmt: skip
    if not_before_ms is not None:
        fields["not_before_ms"] = not_before_ms
    if segments > 1:
        fields["segments"] = segments
    return orjson.dumps(fields)


def segments_in(body: bytes) -> int:
    """The segments that an outbound message says, before anybody reads all of it; 1 where it says none."""
    try:
        segments = orjson.loads(body).get("segments", 1)
    except (orjson.JSONDecodeError, AttributeError):
        return 1
    return segments if isinstance(segments, int) and segments > 0 else 1


def read_batch(message_type: str | None, body: bytes) -> BatchMessage:
    """The batch in a message; UnreadableMessage says in a sentence what is wrong with it."""
    return _read(BatchMessage, BATCH_TYPE, message_type, body)


def read_outbound(message_type: str | None, body: bytes) -> OutboundMessage:
    """The number's turn in a message; UnreadableMessage says in a sentence what is wrong with it."""
    return _read(OutboundMessage, OUTBOUND_TYPE, message_type, body)


def read_receipts(message_type: str | None, body: bytes) -> ReceiptsMessage:
    """The receipts in a message; UnreadableMessage says in a sentence what is wrong with it."""
    return _read(ReceiptsMessage, RECEIPTS_TYPE, message_type, body)


def read_inbound(message_type: str | None, body: bytes) -> InboundMessage:
    """The texts in a message; UnreadableMessage says in a sentence what is wrong with it."""
    return _read(InboundMessage, INBOUND_TYPE, message_type, body)


def _read(model: type[Model], expected: str, message_type: str | None, body: bytes) -> Model:
    # A message pasted by hand into the management UI has no type; its body is checked all the same.
    if message_type and message_type != expected:
        raise UnreadableMessage(f"message type is {message_type!r}, expected {expected!r}")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise UnreadableMessage(_first_problem(error)) from None


def _first_problem(error: ValidationError) -> str:
    # Without the input: it may hold a number or a text.
    first: Any = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = "/".join(str(part) for part in first["loc"]) or "body"
    return f"{where}: {first['msg']}" if first["type"] != "json_invalid" else "body is not JSON"
