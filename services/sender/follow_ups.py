"""The messages that follow what a sender decided: to a retry tier, to the dead letters, to the unclear ones."""

import random
from dataclasses import dataclass

from shared.amqp.messages import Delivery
from shared.domain.follow_ups import Failure, Source, Tiers, dead_letter, letter_of, next_turn
from shared.domain.message import MessageRow
from shared.domain.outcome import Outcome
from shared.domain.outgoing import Outgoing
from shared.domain.stale import StaleDecision, Step
from shared.domain.states import State
from shared.messages import OUTBOUND_TYPE, OutboundMessage
from shared.topology import DEFAULT_PROVIDER, OUTBOUND, DeadLetterKey


@dataclass(frozen=True, slots=True)
class FollowUps:
    """Builds what one sender publishes; `sender` is its name in dead letters."""

    tiers_s: tuple[float, ...]
    sender: str
    provider: str = DEFAULT_PROVIDER
    """To whose queues a retry comes back."""

    def after(
        self, message: OutboundMessage, delivery: Delivery, row: MessageRow, outcome: Outcome, now_ms: int
    ) -> Outgoing | None:
        """What has to be safe on the broker before the delivery is acked; `row.attempt` counts this attempt."""
        if outcome.state is State.RETRYING:
            return self.later(message, row.attempt, outcome.retry_at_ms or now_ms, now_ms)
        source = Source(self.sender, delivery.queue or OUTBOUND)
        return letter_of(row.ended, message.lane.value, outcome, source, row.first_at_ms or now_ms, now_ms)

    def after_stale(
        self, message: OutboundMessage, delivery: Delivery, row: MessageRow | None, decision: StaleDecision, now_ms: int
    ) -> Outgoing | None:
        """What has to be safe before a delivery is acked whose row could not be claimed."""
        match decision.step:
            case Step.WAIT:
                return self.later(message, message.attempt, now_ms + decision.wait_ms, now_ms)
            case Step.REJECT:
                return self._rejected(message, delivery, decision, now_ms)
            case Step.REPEAT | Step.HOLD | Step.CANCEL | Step.SUPPRESS if row is not None:
                return self.after(message, delivery, row, recorded_outcome(row), now_ms)
        return None

    def later(self, message: OutboundMessage, attempt: int, at_ms: int, now_ms: int) -> Outgoing:
        """The message's next turn; chance spreads those that failed together."""
        return next_turn(message, attempt, at_ms, now_ms, Tiers(self.tiers_s, self.provider), random.random())  # noqa: S311

    def _rejected(self, message: OutboundMessage, delivery: Delivery, decision: StaleDecision, now_ms: int) -> Outgoing:
        """The dead letter of a message that no row of the ledger explains."""
        failure = Failure(decision.code, decision.reason, now_ms, self.sender, delivery.queue)
        return dead_letter(
            DeadLetterKey.OUTBOUND, delivery.body, OUTBOUND_TYPE, message.message_id, message.batch_id, failure
        )

    def unreadable(self, delivery: Delivery, reason: str, now_ms: int) -> Outgoing:
        """The dead letter of a message that nobody can read, with its body as it was."""
        failure = Failure("unreadable_message", f"Not a message we know: {reason}", now_ms, self.sender, delivery.queue)
        reference = delivery.message_id or ""
        batch_id = reference.partition(":")[0]
        return dead_letter(
            DeadLetterKey.OUTBOUND, delivery.body, delivery.type or OUTBOUND_TYPE, reference, batch_id, failure
        )


def recorded_outcome(row: MessageRow) -> Outcome:
    """The outcome that the ledger has for a row."""
    return Outcome(row.state, row.error_code, row.error_reason, row.provider_status, retry_at_ms=row.retry_at_ms)
