"""Dead letters: messages whose headers tell the person who reads them in the management UI what failed, and why."""

from dataclasses import dataclass

from shared.amqp.messages import Outgoing
from shared.clock import rfc3339
from shared.topology import DEAD_LETTER, DeadLetterKey

_LONGEST_REASON = 300


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
