"""A dead letter as it is read from its queue, and which of them somebody means."""

from dataclasses import dataclass
from datetime import datetime

from shared.domain.message import Key
from shared.messages import OutboundMessage
from shared.topology import DEAD_LETTER_BATCHES_QUEUE

PUT_BY_BROKER = "put_by_broker"
"""The code of a letter without a reason: the broker took the message away from consumers that it crashed."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter: what its headers say, and the number's turn in its body, where there is one that can be read."""

    queue: str
    message_id: str
    batch_id: str
    code: str
    reason: str
    provider: str | None
    provider_status: int | None
    attempts: int
    first_at: str | None
    failed_at: str | None
    failed_by: str | None
    original_queue: str | None
    body: bytes
    turn: OutboundMessage | None

    @property
    def is_batch(self) -> bool:
        """Whether it is a whole batch that could not be split."""
        return self.queue == DEAD_LETTER_BATCHES_QUEUE

    @property
    def key(self) -> Key | None:
        """The number's place in the ledger."""
        return (self.turn.batch_id, self.turn.row) if self.turn else None

    @property
    def failed_at_ms(self) -> int | None:
        """When it failed; None where its header does not say so."""
        try:
            return round(datetime.fromisoformat(self.failed_at or "").timestamp() * 1000)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant: those that fit everything given. `places` are the numbers that a person has."""

    batch_id: str | None = None
    row: int | None = None
    code: str | None = None
    provider: str | None = None
    failed_before_ms: int | None = None
    failed_after_ms: int | None = None
    places: frozenset[Key] | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Whether the letter is one of them; of a letter that does not say when it failed, no age is known."""
        at_ms = letter.failed_at_ms
        return (
            self.batch_id in (None, letter.batch_id)
            and (self.row is None or (letter.turn is not None and letter.turn.row == self.row))
            and self.code in (None, letter.code)
            and self.provider in (None, letter.provider)
            and (self.failed_before_ms is None or (at_ms is not None and at_ms < self.failed_before_ms))
            and (self.failed_after_ms is None or (at_ms is not None and at_ms >= self.failed_after_ms))
            and (self.places is None or letter.key in self.places)
        )
