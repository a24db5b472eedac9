"""The messages that follow a number's outcome: to a retry tier, to the dead letters, to the unclear ones; pure."""

import random
from dataclasses import dataclass

from services.sender.unclaimed import Disposal, Step
from shared.amqp.messages import Delivery, Outgoing
from shared.dead_letters import Failure, dead_letter
from shared.domain.message import MessageRow
from shared.domain.outcome import Outcome
from shared.domain.phone import mask
from shared.domain.retry import expiration_ms, tier_for
from shared.domain.states import State
from shared.messages import OUTBOUND_TYPE, OutboundMessage, outbound_body
from shared.topology import OUTBOUND, RETRY, DeadLetterKey, retry_key


@dataclass(frozen=True, slots=True)
class FollowUps:
    """Builds what one sender publishes; `sender` is its name in dead letters."""

    tiers_s: tuple[float, ...]
    sender: str

    def after(
        self, message: OutboundMessage, delivery: Delivery, row: MessageRow, outcome: Outcome, now_ms: int
    ) -> Outgoing | None:
        """What has to be safe on the broker before the delivery is acked; `row.attempt` counts this attempt."""
        match outcome.state:
            case State.RETRYING:
                return self.later(message, row.attempt, outcome.retry_at_ms or now_ms, now_ms)
            case State.FAILED | State.UNKNOWN:
                key = DeadLetterKey.OUTBOUND if outcome.state is State.FAILED else DeadLetterKey.UNKNOWN
                body = outbound_body(
                    message.batch_id, message.row, row.attempt, mask(row.recipient), message.lane.value
                )
                failure = self._failure(delivery, row, outcome, now_ms)
                return dead_letter(key, body, OUTBOUND_TYPE, message.message_id, message.batch_id, failure)
        return None

    def disposal(
        self, message: OutboundMessage, delivery: Delivery, row: MessageRow | None, disposal: Disposal, now_ms: int
    ) -> Outgoing | None:
        """What has to be safe before a delivery is acked whose row could not be claimed."""
        match disposal.step:
            case Step.WAIT:
                return self.later(message, message.attempt, now_ms + disposal.wait_ms, now_ms)
            case Step.REJECT:
                return self._rejected(message, delivery, disposal, now_ms)
            case Step.REPEAT | Step.HOLD | Step.CANCEL if row is not None:
                return self.after(message, delivery, row, recorded_outcome(row), now_ms)
        return None

    def later(self, message: OutboundMessage, attempt: int, at_ms: int, now_ms: int) -> Outgoing:
        """The number's next turn, in the tier that is long enough; what no tier is long enough for goes round again."""
        wait_s = max(0, at_ms - now_ms) / 1000
        tier_s = tier_for(wait_s, self.tiers_s)
        not_before_ms = at_ms if wait_s > tier_s else None
        return Outgoing(
            exchange=RETRY,
            routing_key=retry_key(tier_s, message.lane.value),
            body=outbound_body(
                message.batch_id, message.row, attempt, message.recipient, message.lane.value, not_before_ms
            ),
            type=OUTBOUND_TYPE,
            message_id=message.message_id,
            correlation_id=message.batch_id,
            timestamp_s=now_ms // 1000,
            expiration_ms=expiration_ms(tier_s, wait_s, random.random()),  # noqa: S311 - spreads retries
        )

    def _rejected(self, message: OutboundMessage, delivery: Delivery, disposal: Disposal, now_ms: int) -> Outgoing:
        """The dead letter of a message that no row of the ledger explains."""
        failure = Failure(disposal.code, disposal.reason, now_ms, self.sender, delivery.queue)
        return dead_letter(
            DeadLetterKey.OUTBOUND, delivery.body, OUTBOUND_TYPE, message.message_id, message.batch_id, failure
        )

    def unreadable(self, delivery: Delivery, reason: str, now_ms: int) -> Outgoing:
        """The dead letter of a message that nobody can read, with its body as it was."""
        failure = Failure("unreadable_message", f"Not a message we know: {reason}", now_ms, self.sender, delivery.queue)
        message_id = delivery.message_id or ""
        batch_id = message_id.partition(":")[0]
        return dead_letter(
            DeadLetterKey.OUTBOUND, delivery.body, delivery.type or OUTBOUND_TYPE, message_id, batch_id, failure
        )

    def _failure(self, delivery: Delivery, row: MessageRow, outcome: Outcome, now_ms: int) -> Failure:
        return Failure(
            code=outcome.code or "unknown",
            reason=outcome.reason or "",
            failed_at_ms=now_ms,
            failed_by=self.sender,
            original_queue=delivery.queue or OUTBOUND,
            provider=row.provider,
            provider_status=outcome.provider_status,
            attempts=row.attempt,
            first_at_ms=row.first_at_ms or now_ms,
        )


def recorded_outcome(row: MessageRow) -> Outcome:
    """The outcome that the ledger has for a row."""
    return Outcome(row.state, row.error_code, row.error_reason, row.provider_status, retry_at_ms=row.retry_at_ms)
