"""The states of a batch and of a message, which of them are final, and how a message comes from one to another."""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where one message stands."""

    PENDING = "pending"  # in the ledger, not known to be on the outbound queue
    QUEUED = "queued"  # the broker confirmed its message
    SENDING = "sending"  # claimed by a sender
    RETRYING = "retrying"  # certainly not sent, waits in a retry tier
    SENT = "sent"  # the provider accepted it
    DELIVERED = "delivered"  # a receipt says that it arrived
    UNDELIVERED = "undelivered"  # a receipt says that it did not
    FAILED = "failed"  # cannot be sent; a dead letter says why
    UNKNOWN = "unknown"  # may have been sent; held
    EXPIRED = "expired"  # the batch's expires_at passed before it was sent
    INVALID = "invalid"  # not a number that can be texted
    DUPLICATE = "duplicate"  # an earlier row of the batch has the same number
    SUPPRESSED = "suppressed"  # the recipient opted out
    CANCELLED = "cancelled"  # the batch was cancelled before it was sent


LIVE_STATES = frozenset({State.PENDING, State.QUEUED, State.SENDING, State.RETRYING})
"""States that a message leaves by itself; every other state is final."""

ACCEPTED = frozenset({State.SENT, State.DELIVERED, State.UNDELIVERED})
"""The provider took it, whatever became of it then."""

TRANSITIONS: Mapping[tuple[State | None, State], str] = {
    (None, State.PENDING): "row written",
    (None, State.INVALID): "no number or no text that can be sent",
    (None, State.DUPLICATE): "number seen before",
    (None, State.FAILED): "batch cannot be sent as a whole",
    (None, State.CANCELLED): "batch cancelled before",
    (None, State.SUPPRESSED): "recipient opted out",
    (State.PENDING, State.QUEUED): "broker confirmed",
    (State.PENDING, State.SENDING): "claimed before it was marked",
    (State.PENDING, State.RETRYING): "provider busy",
    (State.PENDING, State.EXPIRED): "expires_at passed",
    (State.PENDING, State.CANCELLED): "batch cancelled",
    (State.PENDING, State.FAILED): "its message crashes senders, or no provider serves it",
    (State.PENDING, State.UNKNOWN): "ended, maybe sent before",
    (State.QUEUED, State.SENDING): "claimed",
    (State.QUEUED, State.PENDING): "batch paused, or message lost",
    (State.QUEUED, State.RETRYING): "provider busy",
    (State.QUEUED, State.CANCELLED): "batch cancelled",
    (State.QUEUED, State.FAILED): "its message crashes senders, or is lost each time",
    (State.QUEUED, State.UNKNOWN): "ended, maybe sent before",
    (State.RETRYING, State.SENDING): "claimed",
    (State.RETRYING, State.PENDING): "batch paused, or message lost",
    (State.RETRYING, State.CANCELLED): "batch cancelled",
    (State.RETRYING, State.FAILED): "its message crashes senders, or is lost each time",
    (State.RETRYING, State.UNKNOWN): "ended, maybe sent before",
    (State.SENDING, State.SENT): "accepted",
    (State.SENDING, State.RETRYING): "certainly not sent",
    (State.SENDING, State.FAILED): "refused, or out of attempts",
    (State.SENDING, State.UNKNOWN): "maybe sent, or the sender died",
    (State.SENDING, State.EXPIRED): "expires_at passed",
    (State.SENDING, State.PENDING): "the sender died, and a repetition is allowed",
    (State.FAILED, State.SENDING): "dead letter moved back by hand",
    (State.FAILED, State.QUEUED): "dead letter replayed",
    (State.FAILED, State.PENDING): "replayed while the batch is paused",
    (State.FAILED, State.RETRYING): "replayed while the provider is busy",
    (State.FAILED, State.CANCELLED): "replayed after the batch was cancelled",
    (State.FAILED, State.UNKNOWN): "replayed and ended, maybe sent before",
    (State.UNKNOWN, State.SENT): "a late answer, or a person's decision",
    (State.UNKNOWN, State.FAILED): "a late answer, or a person's decision",
    (State.UNKNOWN, State.RETRYING): "a late answer: certainly not sent",
    (State.UNKNOWN, State.EXPIRED): "a late answer after expires_at",
    (State.UNKNOWN, State.PENDING): "a person's decision: send it again",
    (State.PENDING, State.SUPPRESSED): "recipient opted out",
    (State.QUEUED, State.SUPPRESSED): "recipient opted out",
    (State.RETRYING, State.SUPPRESSED): "recipient opted out",
    (State.FAILED, State.SUPPRESSED): "moved back by hand, and the recipient opted out",
    (State.UNKNOWN, State.DELIVERED): "its receipt",
    (State.UNKNOWN, State.UNDELIVERED): "its receipt",
    (State.SENT, State.DELIVERED): "its receipt",
    (State.SENT, State.UNDELIVERED): "its receipt",
    (State.PENDING, State.DELIVERED): "an earlier attempt's receipt",
    (State.QUEUED, State.DELIVERED): "an earlier attempt's receipt",
    (State.RETRYING, State.DELIVERED): "an earlier attempt's receipt",
    (State.FAILED, State.DELIVERED): "an earlier attempt's receipt",
    (State.EXPIRED, State.DELIVERED): "an earlier attempt's receipt",
}
"""From, to, and why; None is before the row is written. No statement of the ledger makes another one."""


class BatchState(StrEnum):
    """Where one batch stands."""

    SCHEDULED = "scheduled"  # waits for its send_at
    ACCEPTED = "accepted"  # confirmed by the broker, not yet in the ledger
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"  # every number is in a final state; error_reason says why, where the batch failed as a whole
