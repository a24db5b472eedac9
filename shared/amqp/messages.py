"""What goes to the broker and what comes from it, without a client library's types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.topology import CRASH_LIMIT

_SUSPECT_RETURNS = 3
_POISON_RETURNS = CRASH_LIMIT - 2
"""Just before the broker takes it away, which would tell nobody why."""
_DELIVERIES, _ACQUISITIONS = "x-delivery-count", "x-acquired-count"


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
    headers: Mapping[str, Any] = field(default_factory=dict)
    is_redelivered: bool = False

    @property
    def returns(self) -> int:
        """How often it came back before, because a consumer's connection was lost (RabbitMQ 3.10 also counts what a
        person put back in the management UI).

        A message that was moved has the counts of its old queue (of people who looked at a dead letter, for instance)
        in its headers. RabbitMQ 3.10 replaces them when it delivers the message again; 4.3 does so at once only with
        x-acquired-count, which is never less than the other.
        """
        counts = [self.count(name) for name in (_DELIVERIES, _ACQUISITIONS) if name in self.headers]
        return min(counts, default=0) if self.is_redelivered else 0

    def count(self, header: str) -> int:
        """A header that counts something; 0 where it is missing or no such number."""
        value = self.headers.get(header)
        return value if isinstance(value, int) and 0 <= value < 2**31 else 0

    @property
    def is_suspect(self) -> bool:
        """Whether it has come back so often that it is handled alone.

        A process that crashes gives back all it holds, the neighbours of the culprit too. Handled alone and in random
        order, about half of the neighbours are settled before each crash; in the end only the culprit is left.
        """
        return self.returns >= _SUSPECT_RETURNS

    @property
    def is_poison(self) -> bool:
        """Whether it has come back so often that it is not tried any more."""
        return self.returns >= _POISON_RETURNS
