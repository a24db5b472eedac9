"""One message of a batch, which is one row of the ledger: its key, its reference, and when a sender may claim it."""

from typing import NamedTuple, Self

from shared.domain.outcome import Outcome
from shared.domain.routing import ANY_PROVIDER
from shared.domain.states import BatchState, State

Key = tuple[str, int]
"""A message's place: batch id and row."""
CLAIMABLE = frozenset({State.PENDING, State.QUEUED, State.RETRYING, State.FAILED})
CLAIMABLE_BATCH = frozenset({BatchState.RUNNING, BatchState.FINISHED})


def message_id(batch_id: str, row: int) -> str:
    """A message's reference, `<batch_id>:<row>`: on the broker, at the provider, in the logs."""
    return f"{batch_id}:{row}"


class MessageRow(NamedTuple):
    """A message's row with what a sender needs of its batch, in the order in which it is selected. `attempt` counts the
    claims so far.

    A tuple: a sender makes two for each message, and each costs it a fifth of what a frozen dataclass does.
    """

    batch_id: str
    row: int
    state: State
    attempt: int
    recipient: str
    text: str
    claimed_at_ms: int | None
    claimed_by: str | None
    first_at_ms: int | None
    retry_at_ms: int | None
    error_code: str | None
    error_reason: str | None
    provider_status: int | None
    was_unclear: bool
    batch_state: BatchState
    provider: str
    """At which it was tried last, or else the batch's."""
    pin: str
    """The batch's: the only one that may have it, or `ANY_PROVIDER`."""
    may_resend: bool
    expires_at_ms: int | None
    is_resent: bool = False
    """Another batch has the number now: here it is never sent again."""
    uncounted: int = 0
    """Of its attempts, those that were refused because of our account."""
    is_tied: bool = False
    """It may have been sent by its provider, and nobody has decided that it may be sent again: no other may have it."""
    template_id: int | None = None
    variables: str | None = None
    """JSON: what fills the template."""
    is_suppressed: bool = False
    """The recipient opted out."""

    @property
    def key(self) -> Key:
        return self.batch_id, self.row

    @property
    def ended(self) -> "EndedMessage":
        """What is told of it when it ends."""
        return EndedMessage(self.batch_id, self.row, self.recipient, self.provider, self.attempt)

    def after(self, outcome: Outcome) -> Self:
        """The row once the outcome is written."""
        return self._replace(
            state=outcome.state,
            error_code=outcome.code,
            error_reason=outcome.reason,
            retry_at_ms=outcome.retry_at_ms,
        )

    def claimed(self, token: str, now_ms: int, provider: str) -> Self:
        """The row once it is claimed for a provider."""
        return self._replace(
            state=State.SENDING,
            attempt=self.attempt + 1,
            claimed_at_ms=now_ms,
            claimed_by=token,
            first_at_ms=self.first_at_ms or now_ms,
            provider=provider,
        )


class EndedMessage(NamedTuple):
    """A message whose outcome is decided; `attempt` is how many there were, `recipient` in full."""

    batch_id: str
    row: int
    recipient: str
    provider: str
    attempt: int


def is_for(row: MessageRow, provider: str) -> bool:
    """Whether a provider may have the row: one that may have been sent stays with the one that may have it."""
    return row.pin in (provider, ANY_PROVIDER) and (not row.is_tied or row.provider == provider)


def is_claimable(row: MessageRow, attempt: int, provider: str) -> bool:
    """Whether a delivery that follows this attempt may send the row now, at this provider."""
    return is_sendable(row, attempt) and is_for(row, provider)


def is_sendable(row: MessageRow, attempt: int) -> bool:
    """Whether a delivery that follows this attempt may have the row sent now."""
    if row.is_resent or row.is_suppressed:
        return False
    return row.attempt == attempt and row.state in CLAIMABLE and row.batch_state in CLAIMABLE_BATCH
