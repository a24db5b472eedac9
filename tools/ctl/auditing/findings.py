"""What an audit finds, and the line that says it; pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

KEPT_ROWS = 200
"""How many of a finding's row numbers are kept: memory stays bounded whatever is found."""
_SHOWN_RANGES = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit, `what` a sentence.

    `numbers` counts the numbers that it concerns (0: it concerns the whole), `first_rows` are the first of their rows.
    A note is something that operators bring about legitimately, such as a dead letter that was removed.
    """

    subject: str
    what: str
    numbers: int = 0
    first_rows: tuple[int, ...] = ()
    is_note: bool = False

    @property
    def line(self) -> str:
        """The finding for the terminal, without any phone number."""
        if not self.numbers:
            return f"{self.subject}: {self.what}"
        rows = f" ({ranges(self.first_rows, self.numbers)})" if self.first_rows else ""
        return f"{self.subject}: {self.what}: {self.numbers} number{'s' if self.numbers > 1 else ''}{rows}"


@dataclass
class RowFindings:
    """Findings about one batch's rows, gathered row by row."""

    batch_id: str
    _counts: Counter[tuple[str, bool]] = field(default_factory=Counter)
    _first: dict[tuple[str, bool], list[int]] = field(default_factory=dict)

    def add(self, what: str, row: int, *, is_note: bool = False) -> None:
        """Count the row under what is wrong with it."""
        self._counts[what, is_note] += 1
        first = self._first.setdefault((what, is_note), [])
        if len(first) < KEPT_ROWS:
            first.append(row)

    def all(self) -> list[Finding]:
        """A finding for each thing that is wrong."""
        return [
            Finding(self.batch_id, what, number, tuple(sorted(self._first[what, is_note])), is_note)
            for (what, is_note), number in self._counts.items()
        ]


def ranges(rows: Sequence[int], numbers: int) -> str:
    """Ascending row numbers as `rows 3-7, 12`; `…` where the `numbers` are more than are shown."""
    found = list(islice(_ranges(rows), _SHOWN_RANGES + 1))
    shown = found[:_SHOWN_RANGES]
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in shown]
    if sum(last - first + 1 for first, last in shown) < numbers:
        texts.append("…")
    return f"row{'s' if numbers > 1 else ''} {', '.join(texts)}"


def _ranges(rows: Iterable[int]) -> Iterable[tuple[int, int]]:
    first = last = None
    for row in rows:
        if first is None or last is None:
            first = last = row
        elif row == last + 1:
            last = row
        else:
            yield first, last
            first = last = row
    if first is not None and last is not None:
        yield first, last
