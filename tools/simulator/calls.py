"""The record of every call: an append-only list, and tallies per batch that are kept as calls come in.

A call is for one number; several may come in one request.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from sys import intern
from typing import Any, NamedTuple

from tools.simulator.behaviour import ACCEPTING, Behaviour


class Record(NamedTuple):
    """One recorded call; `at_s` is Unix time, `message_id` the one given if the call was accepted."""

    reference: str
    to: str
    text: str
    at_s: float
    behaviour: Behaviour
    message_id: str | None


class _Tally:
    __slots__ = ("accepted", "by_behaviour", "calls", "requests")

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.accepted: dict[str, int] = {}
        self.by_behaviour: Counter[Behaviour] = Counter()
        self.requests = 0


class CallLog:
    """Every call since the start or the last `clear`; a batch is what precedes the first colon of a reference."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget every call; message ids given later differ from those given before."""
        self._id_prefix = secrets.token_hex(4)
        self._records: list[Record] = []
        self._tallies: dict[str | None, _Tally] = {}
        self._requests = 0

    def calls_of(self, reference: str) -> int:
        """How often the reference was called."""
        tally = self._tallies.get(_batch_of(reference))
        return tally.calls.get(reference, 0) if tally else 0

    def add(self, reference: str, to: str, text: str, at_s: float, behaviour: Behaviour) -> str | None:
        """Record one call; the message id if its behaviour accepts."""
        tally = self._tally(_batch_of(reference))
        tally.calls[reference] = tally.calls.get(reference, 0) + 1
        tally.by_behaviour[behaviour] += 1
        message_id = None
        if behaviour in ACCEPTING:
            tally.accepted[reference] = tally.accepted.get(reference, 0) + 1
            message_id = f"{self._id_prefix}-{len(self._records)}"
        # A batch mostly has one text; interned, a hundred thousand calls share one string.
        self._records.append(Record(reference, to, intern(text), at_s, behaviour, message_id))
        return message_id

    def add_request(self, references: Iterable[str]) -> None:
        """Count a request that had these references."""
        self._requests += 1
        for batch in {_batch_of(reference) for reference in references}:
            self._tally(batch).requests += 1

    def page(self, reference: str | None, batch: str | None, limit: int, offset: int) -> list[dict[str, Any]]:
        """The matching calls in the order they came, from `offset`, at most `limit`, as JSON-ready objects."""
        matching = (
            record
            for record in self._records
            if reference in (None, record.reference) and batch in (None, _batch_of(record.reference))
        )
        return [_shown(record) for record in islice(matching, offset, offset + limit)]

    def summary(self, batch: str | None = None) -> dict[str, Any]:
        """Counts of calls and references; `repeated` and `accepted_twice` count references, not calls.

        `requests` counts the HTTP requests that these calls came in, and those that were refused as a whole.
        """
        tallies = list(self._of(batch))
        by_behaviour = sum((tally.by_behaviour for tally in tallies), Counter[Behaviour]())
        return {
            "requests": self._requests if batch is None else sum(tally.requests for tally in tallies),
            "calls": by_behaviour.total(),
            "accepted": sum(sum(tally.accepted.values()) for tally in tallies),
            "references": sum(len(tally.calls) for tally in tallies),
            "repeated": sum(_more_than_once(tally.calls) for tally in tallies),
            "accepted_twice": sum(_more_than_once(tally.accepted) for tally in tallies),
            "by_behaviour": {behaviour.value: calls for behaviour, calls in by_behaviour.items()},
        }

    def counts(self, batch: str | None = None) -> dict[str, int]:
        """Calls per reference."""
        return {reference: calls for tally in self._of(batch) for reference, calls in tally.calls.items()}

    def accepted(self, batch: str | None = None) -> dict[str, int]:
        """Accepted calls per reference, whatever answer they got; those never accepted are left out."""
        return {reference: calls for tally in self._of(batch) for reference, calls in tally.accepted.items()}

    def _tally(self, batch: str | None) -> _Tally:
        tally = self._tallies.get(batch)
        if tally is None:
            tally = self._tallies[batch] = _Tally()
        return tally

    def _of(self, batch: str | None) -> Iterator[_Tally]:
        if batch is None:
            yield from self._tallies.values()
        elif batch in self._tallies:
            yield self._tallies[batch]


def _batch_of(reference: str) -> str | None:
    batch, colon, _ = reference.partition(":")
    return batch if colon else None


def _more_than_once(counts: dict[str, int]) -> int:
    return sum(1 for count in counts.values() if count > 1)


def _shown(record: Record) -> dict[str, Any]:
    return {
        "reference": record.reference,
        "to": record.to,
        "text": record.text,
        "at": datetime.fromtimestamp(record.at_s, UTC).isoformat(timespec="milliseconds"),
        "behaviour": record.behaviour,
        "message_id": record.message_id,
    }
