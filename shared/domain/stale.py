"""What becomes of a delivery whose row this sender could not claim; pure."""

from dataclasses import dataclass
from enum import Enum, auto

from shared.domain.message import MessageRow
from shared.domain.states import BatchState, State


class Step(Enum):
    """What to do with the delivery."""

    SKIP = auto()  # the row needs nothing more: ack
    WAIT = auto()  # another claim is at work: look again later
    REPEAT = auto()  # the row's outcome is recorded, but its follow-up may be missing: publish it (again), ack
    HOLD = auto()  # the claim's holder died during the call: unclear, hold it
    PARK = auto()  # the batch does not run: the dispatcher feeds the row again when it does
    CANCEL = auto()  # the batch was cancelled
    SUPPRESS = auto()  # the recipient opted out
    REJECT = auto()  # no row of the ledger explains this message: dead letter


@dataclass(frozen=True, slots=True)
class StaleDecision:
    """The step, how long to wait with `Step.WAIT`, and the reason with `Step.REJECT`."""

    step: Step
    wait_ms: int = 0
    code: str = ""
    reason: str = ""


_FOLLOWED_UP = frozenset({State.RETRYING, State.FAILED, State.UNKNOWN})
_SENDABLE = frozenset({State.PENDING, State.QUEUED, State.RETRYING, State.FAILED})
_PENDING_WAIT_MS = 4_000


def decide_stale(attempt: int, row: MessageRow | None, now_ms: int, lease_ms: int) -> StaleDecision:
    """Settle by the row's state.

    `attempt` is the one that the delivery may follow; the claim that it led to, if any, left the row one
    higher. So a row that is further than that has been taken on by a later message, and this copy is stale. So is every
    message of a number that another batch has now.
    """
    if row is None:
        return StaleDecision(Step.REJECT, code="not_in_ledger", reason="The ledger has no such batch and row")
    if row.attempt < attempt:
        reason = f"The ledger counts {row.attempt} attempts, the message {attempt}: was the ledger restored?"
        return StaleDecision(Step.REJECT, code="ahead_of_ledger", reason=reason)
    if row.is_resent or row.attempt > attempt + 1:
        return StaleDecision(Step.SKIP)
    if row.state is State.SENDING:
        return _claimed(row, now_ms, lease_ms)
    if row.attempt == attempt + 1:
        return StaleDecision(Step.REPEAT if row.state in _FOLLOWED_UP else Step.SKIP)
    return _not_begun(row)


def _claimed(row: MessageRow, now_ms: int, lease_ms: int) -> StaleDecision:
    left_ms = (row.claimed_at_ms or 0) + lease_ms - now_ms
    return StaleDecision(Step.WAIT, wait_ms=left_ms) if left_ms > 0 else StaleDecision(Step.HOLD)


def _not_begun(row: MessageRow) -> StaleDecision:
    if row.state is State.UNKNOWN:
        # Moved out of sms.unknown by hand: it may have been sent, so it goes back there until somebody decides.
        return StaleDecision(Step.REPEAT)
    if row.state not in _SENDABLE:
        return StaleDecision(Step.SKIP)
    if row.is_suppressed and row.batch_state is not BatchState.CANCELLED:
        return StaleDecision(Step.SUPPRESS)
    if row.state is State.PENDING and row.batch_state is not BatchState.CANCELLED:
        # The dispatcher marks it queued within seconds; parked now, it would be queued and nowhere. If it died before
        # that, the message goes round for as long as the batch does not run, so it goes slowly.
        return StaleDecision(Step.WAIT, wait_ms=_PENDING_WAIT_MS)
    return StaleDecision(Step.CANCEL if row.batch_state is BatchState.CANCELLED else Step.PARK)
