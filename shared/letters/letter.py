"""A dead letter as it is read from its queue, and which of them somebody means; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.amqp.messages import Delivery
from shared.domain.message import Key
from shared.errors import UnreadableMessage
from shared.messages import BATCH_TYPE, OutboundMessage, read_outbound
from shared.topology import DEAD_LETTER_BATCHES_QUEUE

PUT_BY_BROKER = "put_by_broker"
"""The code of a letter without a reason: the broker took the message away from consumers that it crashed."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: what its headers say, and the number's turn in its body, where there is one that can be read."""

    queue: str
    message_id: str
    batch_id: str
    code: str
    reason: str
    provider: str | None
    provider_status: int | None
    attempts: int
    first_at: str | None
    failed_at: str | None
    failed_by: str | None
    original_queue: str | None
    body: bytes
    turn: OutboundMessage | None

    @property
    def is_batch(self) -> bool:
        """Whether it is a whole batch that could not be split."""
        return self.queue == DEAD_LETTER_BATCHES_QUEUE

    @property
    def key(self) -> Key | None:
        """The number's place in the ledger."""
        return (self.turn.batch_id, self.turn.row) if self.turn else None

    @property
    def failed_at_ms(self) -> int | None:
        """When it failed; None where its header does not say so."""
        try:
            return round(datetime.fromisoformat(self.failed_at or "").timestamp() * 1000)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant: those that fit everything given. `places` are the numbers that a person has."""

    batch_id: str | None = None
    row: int | None = None
    code: str | None = None
    provider: str | None = None
    failed_before_ms: int | None = None
    failed_after_ms: int | None = None
    places: frozenset[Key] | None = None

    def fits(self, letter: Letter) -> bool:
        """Whether the letter is one of them; of a letter that does not say when it failed, no age is known."""
        at_ms = letter.failed_at_ms
        return (
            self.batch_id in (None, letter.batch_id)
            and (self.row is None or (letter.turn is not None and letter.turn.row == self.row))
            and self.code in (None, letter.code)
            and self.provider in (None, letter.provider)
            and (self.failed_before_ms is None or (at_ms is not None and at_ms < self.failed_before_ms))
            and (self.failed_after_ms is None or (at_ms is not None and at_ms >= self.failed_after_ms))
            and (self.places is None or letter.key in self.places)
        )


def read_letter(delivery: Delivery) -> Letter:
    """The letter in a message; one that nobody can read is a letter too."""
    headers = delivery.headers
    turn = _turn(delivery)
    message_id = delivery.message_id or (turn.message_id if turn else "")
    code = _text(headers, "x-error-code")
    return Letter(
        queue=delivery.queue,
        message_id=message_id,
        batch_id=_text(headers, "x-batch-id") or message_id.partition(":")[0],
        code=code or PUT_BY_BROKER,
        reason=_text(headers, "x-error-reason") or _broker_reason(headers),
        provider=_text(headers, "x-provider"),
        provider_status=delivery.count("x-provider-status") or None,
        attempts=delivery.count("x-attempts"),
        first_at=_text(headers, "x-first-at"),
        failed_at=_text(headers, "x-failed-at"),
        failed_by=_text(headers, "x-failed-by"),
        original_queue=_text(headers, "x-original-queue") or _text(headers, "x-first-death-queue"),
        body=delivery.body,
        turn=turn,
    )


def _turn(delivery: Delivery) -> OutboundMessage | None:
    if delivery.type == BATCH_TYPE or delivery.queue == DEAD_LETTER_BATCHES_QUEUE:
        return None
    try:
        return read_outbound(delivery.type, delivery.body)
    except UnreadableMessage:
        return None


def _broker_reason(headers: Mapping[str, Any]) -> str:
    why = _text(headers, "x-first-death-reason") or "unknown"
    return f"Put here by the broker ({why}), not by a service"


def _text(headers: Mapping[str, Any], name: str) -> str | None:
    value = headers.get(name)
    return value if isinstance(value, str) else None
