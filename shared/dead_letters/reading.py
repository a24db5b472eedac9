"""Reading a dead letter from the message that it is."""

from collections.abc import Mapping
from typing import Any

from shared.amqp.messages import Delivery
from shared.domain.dead_letter import PUT_BY_BROKER, DeadLetter
from shared.errors import UnreadableMessage
from shared.messages import BATCH_TYPE, OutboundMessage, read_outbound
from shared.topology import DEAD_LETTER_BATCHES_QUEUE


def read_dead_letter(delivery: Delivery) -> DeadLetter:
    """The letter in a message; one that nobody can read is a letter too."""
    headers = delivery.headers
    turn = _turn(delivery)
    message_id = delivery.message_id or (turn.message_id if turn else "")
    code = _text(headers, "x-error-code")
    return DeadLetter(
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
