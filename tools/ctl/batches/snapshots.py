"""A batch as the api shows it at one moment."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.options import OPTIONS
from shared.domain.states import LIVE_STATES, BatchState, State

_ORDER = [state.value for state in State]


class Snapshot(BaseModel):
    """A batch's state and its counts by state; the counts are empty until the ledger has the batch."""

    model_config = ConfigDict(extra="allow", frozen=True)

    status: str
    batch_id: str = ""
    recipients: int | None = None
    """Not known for a moment after the 202, where there is no Redis."""
    counts: dict[str, int] = Field(default_factory=dict)
    created_at: str | None = None
    send_at: str | None = None
    finished_at: str | None = None
    error_reason: str | None = None
    resend_of: str | None = None
    paused_by: str | None = None
    paused_reason: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The batch's options, as far as the api tells them, whatever it takes for one."""
        told = self.model_extra or {}
        return {name: told[name] for name in OPTIONS if name in told}

    @property
    def has_ended(self) -> bool:
        """The counts change no more by themselves."""
        over = self.status in (BatchState.FINISHED, BatchState.CANCELLED)
        return over and not any(number for state, number in self.counts.items() if state in LIVE_STATES)

    @property
    def has_succeeded(self) -> bool:
        """The batch went its whole way, whatever came of each number."""
        return self.status == BatchState.FINISHED and not self.error_reason

    @property
    def done(self) -> int:
        """How many numbers are in a final state."""
        return sum(number for state, number in self.counts.items() if state not in LIVE_STATES)


class MessageRow(BaseModel):
    """One number of a batch; `recipient` is masked."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    row: int
    recipient: str
    state: str
    attempts: int = 0
    error_code: str | None = None
    error_reason: str | None = None


class ProviderState(BaseModel):
    """How a provider stands."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    type: str
    state: str
    cause: str | None = None
    error_code: str | None = None
    error_reason: str | None = None
    since: str | None = None
    until: str | None = None
    rate: float | None = None
    pace: float = 1.0
    weight: int
    lanes: list[str]
    prefixes: list[str]
    senders: int
    in_flight: int
    sent_last_minute: int
    failed_last_minute: int


class ProviderList(BaseModel):
    """All providers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    providers: list[ProviderState]


class Messages(BaseModel):
    """A page of a batch's numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    messages: list[MessageRow]


class Accepted(BaseModel):
    """The answer to a batch that is accepted."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    batch_id: str
    recipients: int


def in_order(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The counts above zero, in the order in which numbers pass through the states."""
    return sorted(((state, number) for state, number in counts.items() if number), key=_place)


def total(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The sums of several batches' counts."""
    states = {state for one in counts for state in one}
    return {state: sum(one.get(state, 0) for one in counts) for state in states}


def _place(item: tuple[str, int]) -> tuple[int, str]:
    state = item[0]
    return _ORDER.index(state) if state in _ORDER else len(_ORDER), state
