"""What goes to the broker and what comes from it, without a client library's types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Headers = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A persistent message to publish; `expiration_ms` is its own TTL."""

    exchange: str
    routing_key: str
    body: bytes
    type: str
    message_id: str
    correlation_id: str
    timestamp_s: int
    headers: Headers = field(default_factory=dict)
    expiration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that the broker handed out and that waits for its settlement.

    `ack` may be called once. On a channel that is gone it does nothing: the broker delivers the message again.
    """

    body: bytes
    type: str | None
    message_id: str | None
    queue: str
    ack: Callable[[], None]
