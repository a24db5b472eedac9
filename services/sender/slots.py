"""The slots for calls that a sender has reserved; pure."""

from collections import deque
from dataclasses import dataclass
from math import floor

LATEST_S = 0.025
"""How long after its slot a call may still be made."""


def is_missed(slot_s: float, now_s: float) -> bool:
    """Whether it is too late to make a call in this slot: beside those of the slots since, it might be one too many."""
    return now_s - slot_s > LATEST_S


@dataclass(slots=True)
class _Row:
    """Some slots, evenly apart."""

    first_s: float
    interval_s: float
    left: int

    def drop(self, number: int) -> None:
        self.first_s += number * self.interval_s
        self.left -= number

    def missed(self, now_s: float) -> int:
        """How many of them are missed."""
        late_s = now_s - LATEST_S - self.first_s
        return 0 if late_s <= 0 else min(self.left, floor(late_s / self.interval_s) + 1)


class Slots:
    """Slots in their order; times are of one monotonic clock, in seconds. Each is for a unit: a call may take some."""

    def __init__(self) -> None:
        self._rows: deque[_Row] = deque()

    def add(self, first_s: float, interval_s: float, number: int) -> None:
        """Slots behind those that there are."""
        self._rows.append(_Row(first_s, interval_s, number))

    def lacking(self, number: int, now_s: float) -> int:
        """How many there are too few of, when those that are missed are left out."""
        while self._rows:
            row = self._rows[0]
            row.drop(row.missed(now_s))
            if row.left:
                break
            self._rows.popleft()
        return max(0, number - sum(row.left for row in self._rows))

    @property
    def first_s(self) -> float:
        """The first of them, of which there is one."""
        return self._rows[0].first_s

    def take(self, number: int) -> None:
        """Use the first ones, of which there are as many."""
        while number:
            row = self._rows[0]
            taken = min(number, row.left)
            row.drop(taken)
            number -= taken
            if not row.left:
                self._rows.popleft()
