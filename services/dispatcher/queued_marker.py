"""Marking confirmed numbers as queued, a while later: what a sender has claimed by then needs no mark any more."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.clock import now_ms
from shared.ledger.feeding import FeedingLedger, PendingRow
from shared.ledger.waiting import when_ledger_answers

_AFTER_S = 1.0
_MOST_AT_ONCE = 2_000
_MOST_KEPT = 50_000


FedKey = tuple[str, str]
"""What is fed by itself: a batch's id, and the prefix of one of its streams."""


@dataclass(slots=True)
class _Unmarked:
    """A stream's confirmed rows, chunk by chunk, with the time to mark them; `rows` counts those being marked, too."""

    chunks: deque[tuple[float, Sequence[PendingRow]]] = field(default_factory=deque)
    rows: int = 0

    def due(self, now_s: float) -> list[PendingRow]:
        """Take the rows whose time has come, about as many as one statement should have."""
        taken: list[PendingRow] = []
        while self.chunks and self.chunks[0][0] <= now_s and len(taken) < _MOST_AT_ONCE:
            taken += self.chunks.popleft()[1]
        return taken


class QueuedMarker:
    """Keeps the numbers that are published and confirmed until they are marked.

    While senders keep up, nearly all are claimed before their time has come, and a version of the row is saved. What
    dies with this process is still pending, and published once more: the claim lets one copy be sent.
    """

    def __init__(self, ledger: FeedingLedger, after_s: float = _AFTER_S) -> None:
        self._ledger, self._after_s = ledger, after_s
        self._unmarked: dict[FedKey, _Unmarked] = {}
        self._sooner = asyncio.Event()
        self._turn = asyncio.Lock()
        self.marked: Callable[[], None] = lambda: None
        """Called when a stream has no unmarked rows left, or there is room for more."""

    @property
    def is_full(self) -> bool:
        """Whether no more should be published before some are marked: the ledger does not keep up."""
        return sum(unmarked.rows for unmarked in self._unmarked.values()) >= _MOST_KEPT

    def has_any(self, key: FedKey) -> bool:
        """Whether a stream has rows that are not marked yet."""
        return key in self._unmarked

    def add(self, key: FedKey, rows: Sequence[PendingRow]) -> None:
        """Mark these rows when their time has come."""
        unmarked = self._unmarked.setdefault(key, _Unmarked())
        unmarked.chunks.append((time.monotonic() + self._after_s, rows))
        unmarked.rows += len(rows)
        self._sooner.set()

    def hurry(self, key: FedKey) -> None:
        """Mark a stream's rows now: no more of it are published for the time being."""
        if unmarked := self._unmarked.get(key):
            unmarked.chunks = deque((0.0, rows) for _at_s, rows in unmarked.chunks)
            self._sooner.set()

    async def run(self) -> None:
        """Mark what is due until cancelled."""
        while True:
            self._sooner.clear()
            await self._mark_due(time.monotonic())
            await self._pause()

    async def drain(self) -> None:
        """Mark all that is left, now."""
        await self._mark_due(math.inf)

    async def _mark_due(self, now_s: float) -> None:
        async with self._turn:
            for key, unmarked in list(self._unmarked.items()):
                while rows := unmarked.due(now_s):
                    await self._mark(key, unmarked, rows)

    async def _mark(self, key: FedKey, unmarked: _Unmarked, rows: Sequence[PendingRow]) -> None:
        await when_ledger_answers(lambda: self._ledger.mark_queued(key[0], rows, now_ms()))
        was_full = self.is_full
        unmarked.rows -= len(rows)
        if not unmarked.rows:
            del self._unmarked[key]
        if was_full or not unmarked.rows:
            self.marked()

    async def _pause(self) -> None:
        """Until the next rows are due, or something is to be marked sooner."""
        next_at_s = min((unmarked.chunks[0][0] for unmarked in self._unmarked.values()), default=None)
        wait_s = None if next_at_s is None else max(0.0, next_at_s - time.monotonic())
        try:
            async with asyncio.timeout(wait_s):
                await self._sooner.wait()
        except TimeoutError:
            pass
