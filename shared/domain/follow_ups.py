"""What follows an outcome on the broker: the message's next turn, or a dead letter, whose headers tell the person who
reads it in the management UI what failed, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.domain.message import EndedMessage, message_id
from shared.domain.outcome import Outcome
from shared.domain.outgoing import Outgoing
from shared.domain.phone import mask
from shared.domain.retry import expiration_ms, tier_for
from shared.domain.states import State
from shared.domain.times import rfc3339
from shared.messages import OUTBOUND_TYPE, OutboundMessage, outbound_body
from shared.topology import DEAD_LETTER, RETRY, DeadLetterKey, retry_key

_LONGEST_REASON = 300
_LETTERS = {State.FAILED: DeadLetterKey.OUTBOUND, State.UNKNOWN: DeadLetterKey.UNKNOWN}


class Source(NamedTuple):
    """Who ended a message, and the queue that it came from."""

    failed_by: str
    original_queue: str


class Tiers(NamedTuple):
    """The retry tiers (seconds, ascending), and the provider to whose queues they lead back."""

    delays_s: Sequence[float]
    provider: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message is a dead letter. `code` is the provider's own where it gave one; `reason` is a sentence."""

    code: str
    reason: str
    failed_at_ms: int
    failed_by: str
    original_queue: str
    provider: str | None = None
    provider_status: int | None = None
    attempts: int = 0
    first_at_ms: int | None = None


def next_turn(
    message: OutboundMessage,
    attempt: int,
    at_ms: int,
    now_ms: int,
    tiers: Tiers,
    random: float,
) -> Outgoing:
    """The message's next turn, in the tier that is long enough; what no tier is long enough for goes round again.

    `random` is as in `expiration_ms`.
    """
    wait_s = max(0, at_ms - now_ms) / 1000
    tier_s = tier_for(wait_s, tiers.delays_s)
    not_before_ms = at_ms if wait_s > tier_s else None
    return Outgoing(
        exchange=RETRY,
        routing_key=retry_key(tier_s, message.lane.value, tiers.provider),
        body=outbound_body(
            message.batch_id,
            message.row,
            attempt,
            message.recipient,
            message.lane.value,
            not_before_ms,
            message.segments,
        ),
        type=OUTBOUND_TYPE,
        message_id=message.message_id,
        correlation_id=message.batch_id,
        timestamp_s=now_ms // 1000,
        expiration_ms=expiration_ms(tier_s, wait_s, random),
    )


def letter_of(
    message: EndedMessage, lane: str, outcome: Outcome, source: Source, first_at_ms: int | None, now_ms: int
) -> Outgoing | None:
    """The letter that an outcome leaves: in the dead letters, or with what may have been sent; None where it leaves
    none."""
    key = _LETTERS.get(outcome.state)
    if key is None:
        return None
    failure = Failure(
        code=outcome.code or "unknown",
        reason=outcome.reason or "",
        failed_at_ms=now_ms,
        failed_by=source.failed_by,
        original_queue=source.original_queue,
        provider=message.provider,
        provider_status=outcome.provider_status,
        attempts=message.attempt,
        first_at_ms=first_at_ms,
    )
    body = outbound_body(message.batch_id, message.row, message.attempt, mask(message.recipient), lane)
    reference = message_id(message.batch_id, message.row)
    return dead_letter(key, body, OUTBOUND_TYPE, reference, message.batch_id, failure)


def dead_letter(
    key: DeadLetterKey, body: bytes, message_type: str, message_id: str, batch_id: str, failure: Failure
) -> Outgoing:
    """The message to publish to the dead-letter exchange; flat, short headers, which the UI shows as a list."""
    headers: dict[str, str | int | None] = {
        "x-error-code": failure.code,
        "x-error-reason": failure.reason[:_LONGEST_REASON],
        "x-provider": failure.provider,
        "x-provider-status": failure.provider_status,
        "x-attempts": failure.attempts,
        "x-first-at": failure.first_at_ms and rfc3339(failure.first_at_ms),
        "x-failed-at": rfc3339(failure.failed_at_ms),
        "x-failed-by": failure.failed_by,
        "x-original-queue": failure.original_queue,
        "x-batch-id": batch_id,
    }
    return Outgoing(
        exchange=DEAD_LETTER,
        routing_key=key,
        body=body,
        type=message_type,
        message_id=message_id,
        correlation_id=batch_id,
        timestamp_s=failure.failed_at_ms // 1000,
        headers={name: value for name, value in headers.items() if value is not None},
    )
