"""What may become of a dead letter that somebody wants sent again, by how its message or batch stands."""

from dataclasses import dataclass
from enum import Enum, auto

from shared.domain.dead_letter import PUT_BY_BROKER, DeadLetter
from shared.domain.ids import is_ours
from shared.domain.states import BatchState, State


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """How a number stands. `is_resent`: it is sent again in another batch, and never in this one."""

    state: State
    attempt: int
    batch_state: BatchState
    is_resent: bool


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How a batch stands; `error_code` where it could not be sent as a whole."""

    state: BatchState
    error_code: str | None


class ReplayAction(Enum):
    """What to do with a letter."""

    SEND = auto()  # publish it again
    REMOVE = auto()  # stale: nothing would come of it
    LEAVE = auto()  # it cannot be sent again, and says why


@dataclass(frozen=True, slots=True)
class ReplayDecision:
    """What to do, and the reason where it is not sent."""

    action: ReplayAction
    reason: str = ""


_SEND = ReplayDecision(ReplayAction.SEND)
_WAITING = frozenset({State.PENDING, State.QUEUED, State.RETRYING})


def decide_replay(letter: DeadLetter, standing: MessageStatus | None) -> ReplayDecision:
    """A number's letter against its row."""
    if letter.turn is None:
        return ReplayDecision(ReplayAction.LEAVE, "nobody can read them")
    if standing is None:
        return ReplayDecision(ReplayAction.LEAVE, "the ledger has no such number")
    if standing.attempt < letter.turn.attempt:
        return ReplayDecision(ReplayAction.LEAVE, "the ledger is behind them: was it restored?")
    if standing.attempt > letter.turn.attempt:
        return ReplayDecision(ReplayAction.REMOVE, "tried again since")
    if standing.is_resent:
        return ReplayDecision(ReplayAction.REMOVE, "sent again in another batch")
    if standing.batch_state is BatchState.CANCELLED:
        return ReplayDecision(ReplayAction.LEAVE, "their batch was cancelled")
    if standing.state is State.FAILED:
        return _SEND
    if standing.state in _WAITING and letter.code == PUT_BY_BROKER:
        return _SEND  # this is the number's only message
    return ReplayDecision(ReplayAction.REMOVE, f"{standing.state} since")


def decide_batch_replay(letter: DeadLetter, standing: BatchStatus | None) -> ReplayDecision:
    """A batch's letter against the batch."""
    if letter.code == "unreadable_message" or not is_ours(letter.batch_id):
        return ReplayDecision(ReplayAction.LEAVE, "nobody can read them")
    if letter.code == "batch_conflict":
        return ReplayDecision(ReplayAction.LEAVE, "another batch has their id")
    if standing is None or standing.error_code is not None:
        return _SEND
    return ReplayDecision(ReplayAction.REMOVE, "written since")
