"""What may become of a dead letter that somebody wants sent again, by how its message or batch stands."""

from dataclasses import dataclass
from enum import Enum, auto

from shared.domain.dead_letter import PUT_BY_BROKER, Letter
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


class Fate(Enum):
    """What to do with a letter."""

    SEND = auto()  # publish it again
    REMOVE = auto()  # stale: nothing would come of it
    LEAVE = auto()  # it cannot be sent again, and says why


@dataclass(frozen=True, slots=True)
class Judgement:
    """The fate, and the reason where it is not sent."""

    fate: Fate
    reason: str = ""


_SEND = Judgement(Fate.SEND)
_WAITING = frozenset({State.PENDING, State.QUEUED, State.RETRYING})


def judge(letter: Letter, standing: MessageStatus | None) -> Judgement:
    """A number's letter against its row."""
    if letter.turn is None:
        return Judgement(Fate.LEAVE, "nobody can read them")
    if standing is None:
        return Judgement(Fate.LEAVE, "the ledger has no such number")
    if standing.attempt < letter.turn.attempt:
        return Judgement(Fate.LEAVE, "the ledger is behind them: was it restored?")
    if standing.attempt > letter.turn.attempt:
        return Judgement(Fate.REMOVE, "tried again since")
    if standing.is_resent:
        return Judgement(Fate.REMOVE, "sent again in another batch")
    if standing.batch_state is BatchState.CANCELLED:
        return Judgement(Fate.LEAVE, "their batch was cancelled")
    if standing.state is State.FAILED:
        return _SEND
    if standing.state in _WAITING and letter.code == PUT_BY_BROKER:
        return _SEND  # this is the number's only message
    return Judgement(Fate.REMOVE, f"{standing.state} since")


def judge_batch(letter: Letter, standing: BatchStatus | None) -> Judgement:
    """A batch's letter against the batch."""
    if letter.code == "unreadable_message" or not is_ours(letter.batch_id):
        return Judgement(Fate.LEAVE, "nobody can read them")
    if letter.code == "batch_conflict":
        return Judgement(Fate.LEAVE, "another batch has their id")
    if standing is None or standing.error_code is not None:
        return _SEND
    return Judgement(Fate.REMOVE, "written since")
