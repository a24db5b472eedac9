"""What becomes of a message that stands still because what should move it on is gone from the broker."""

from dataclasses import dataclass

from shared.domain.outcome import SENDER_DIED, Outcome, keep_if_maybe_sent
from shared.domain.retry import tier_for
from shared.domain.states import BatchState, State

_MOST_RECOVERIES = 5
_LEAST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class UnsettledBatch:
    """A batch with messages that are not final. `written_at_ms` is when its last row so far was written."""

    batch_id: str
    state: BatchState
    lane: str
    provider: str
    may_resend: bool
    unwritten: int
    written_at_ms: int


@dataclass(frozen=True, slots=True)
class StillRow:
    """A message that has not moved for a while. `recipient` is in full."""

    row: int
    state: State
    attempt: int
    recipient: str
    updated_at_ms: int
    retry_at_ms: int | None
    first_at_ms: int | None
    recoveries: int
    was_unclear: bool
    provider: str | None = None
    """At which it was tried last, where that is another than the batch's."""


@dataclass(frozen=True, slots=True)
class RecoveryTimeouts:
    """How long to wait for a message before it is held to be lost."""

    recover_after_s: float
    lease_ms: int
    tiers_s: tuple[float, ...]

    @property
    def look_every_s(self) -> float:
        """How often to look."""
        return min(max(self.recover_after_s / 4, _LEAST_PAUSE_S), _LONGEST_PAUSE_S)

    def before_ms(self, now: int) -> int:
        """What has not moved since then has stood still for too long."""
        return now - round(1000 * self.recover_after_s)


def expected_by_ms(row: StillRow, timeouts: RecoveryTimeouts) -> int:
    """When the row's message should have moved it on, were there nothing before it in its queue."""
    if row.state is State.SENDING:
        return row.updated_at_ms + timeouts.lease_ms
    if row.state is State.RETRYING and row.retry_at_ms is not None:
        wait_s = (row.retry_at_ms - row.updated_at_ms) / 1000
        return row.retry_at_ms + round(1000 * tier_for(wait_s, timeouts.tiers_s))
    return row.updated_at_ms


def decide_recovery(row: StillRow, batch: UnsettledBatch) -> Outcome:
    """What becomes of a row whose message is gone."""
    if row.state is State.SENDING and not (batch.may_resend and batch.state is not BatchState.CANCELLED):
        return Outcome(State.UNKNOWN, SENDER_DIED.code, SENDER_DIED.reason)
    was_unclear = row.was_unclear or row.state is State.SENDING
    if batch.state is BatchState.CANCELLED:
        return keep_if_maybe_sent(Outcome(State.CANCELLED), was_unclear=was_unclear)
    if row.recoveries >= _MOST_RECOVERIES:
        reason = f"Its message was published {row.recoveries + 1} times and lost each time"
        return keep_if_maybe_sent(Outcome(State.FAILED, "undeliverable", reason), was_unclear=was_unclear)
    return Outcome(State.PENDING)
