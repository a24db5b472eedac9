"""How far a stream of a batch is fed, and how long a queue is left alone that takes no messages."""

from dataclasses import dataclass

from services.dispatcher.queued_marker import FedKey
from shared.domain.routing import ANY_NUMBER, Stream
from shared.ledger.feeding import RunningBatch

_SHORTEST_HOLD_S, _LONGEST_HOLD_S = 0.5, 4.0
_QUIET_S = 1.0


@dataclass(slots=True)
class FedStream:
    """A stream of a batch: rows up to `after_row` are published, of them `in_flight` not confirmed."""

    batch: RunningBatch
    stream: Stream
    after_row: int = -1
    in_flight: int = 0
    quiet_until_s: float = 0.0
    """It had no rows: the next look is then, or when the batch has new ones."""

    @property
    def is_one_of_several(self) -> bool:
        """Whether the batch has other streams, so that this one may well have no rows at all."""
        return bool(self.stream.longer) or self.stream.prefix != ANY_NUMBER

    def had_none(self, now_s: float) -> None:
        """To look for rows that are not there is to read all of the batch's."""
        if self.is_one_of_several:
            self.quiet_until_s = now_s + _QUIET_S

    @property
    def key(self) -> FedKey:
        return self.batch.batch_id, self.stream.prefix


@dataclass(slots=True)
class Hold:
    """How long a queue is left alone after it took no messages: twice as long each time, until it takes some."""

    until_s: float = 0.0
    next_s: float = _SHORTEST_HOLD_S

    def failed(self, now_s: float) -> None:
        """Chunks fly together: what fails while the queue is left alone already counts once."""
        if now_s >= self.until_s:
            self.until_s, self.next_s = now_s + self.next_s, min(2 * self.next_s, _LONGEST_HOLD_S)

    def succeeded(self) -> None:
        self.until_s, self.next_s = 0.0, _SHORTEST_HOLD_S
