"""Dead letters counted by what they have in common; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.dead_letter import DeadLetter


class By(StrEnum):
    """What letters of one group have in common, beside their code and provider."""

    CODE = "code"
    BATCH = "batch"


@dataclass(slots=True)
class Group:
    """The letters of one queue with one code from one provider, and of one batch where that is asked for.

    `oldest` and `newest` are the times of failure as the headers have them; `example` is a letter's message id.
    """

    queue: str
    code: str
    provider: str | None
    batch_id: str | None
    reason: str
    example: str
    letters: int = 0
    oldest: str | None = None
    newest: str | None = None


class Grouping:
    """Counts letters into groups; holds no letter."""

    def __init__(self, by: By) -> None:
        self._by = by
        self._groups: dict[tuple[str, str, str | None, str | None], Group] = {}

    def add(self, letter: DeadLetter) -> None:
        """Count one letter."""
        batch_id = letter.batch_id if self._by is By.BATCH else None
        key = (letter.queue, letter.code, letter.provider, batch_id)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(*key, letter.reason, letter.message_id)
        group.letters += 1
        if letter.failed_at is not None:
            # RFC 3339 in UTC sorts as text.
            group.oldest = min(group.oldest or letter.failed_at, letter.failed_at)
            group.newest = max(group.newest or letter.failed_at, letter.failed_at)

    def largest_first(self) -> list[Group]:
        """The groups, the largest first."""
        return sorted(self._groups.values(), key=lambda group: (-group.letters, group.queue, group.code))


def total(groups: Iterable[Group]) -> int:
    """How many letters the groups have."""
    return sum(group.letters for group in groups)
