"""The states of a batch and of a number, and which of them are final."""

from enum import StrEnum


class State(StrEnum):
    """Where one number stands."""

    PENDING = "pending"  # in the ledger, not known to be on the outbound queue
    QUEUED = "queued"  # the broker confirmed its message
    SENDING = "sending"  # claimed by a sender
    RETRYING = "retrying"  # certainly not sent, waits in a retry tier
    SENT = "sent"  # the provider accepted it
    FAILED = "failed"  # cannot be sent; a dead letter says why
    UNKNOWN = "unknown"  # may have been sent; held
    EXPIRED = "expired"  # the batch's expires_at passed before it was sent
    INVALID = "invalid"  # not a number that can be texted
    DUPLICATE = "duplicate"  # an earlier row of the batch has the same number
    SUPPRESSED = "suppressed"  # the recipient opted out
    CANCELLED = "cancelled"  # the batch was cancelled before it was sent


LIVE_STATES = frozenset({State.PENDING, State.QUEUED, State.SENDING, State.RETRYING})
"""States that a number leaves by itself; every other state is final."""


class BatchState(StrEnum):
    """Where one batch stands."""

    SCHEDULED = "scheduled"  # waits for its send_at
    ACCEPTED = "accepted"  # confirmed by the broker, not yet in the ledger
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"  # every number is in a final state; error_reason says why, where the batch failed as a whole
