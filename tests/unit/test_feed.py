"""The feeder's turns, with a ledger and a broker that do only what is asked here."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from services.dispatcher.feed import Feeder
from services.dispatcher.queued_marker import QueuedMarker
from shared.domain.outgoing import Outgoing
from shared.ledger.clock import LedgerClock
from shared.ledger.database import Database
from shared.ledger.feeding import PendingRow, RunningBatch

BOUND = 4
BATCHES = [f"batch-{number}" for number in range(5)]


async def right_clock() -> LedgerClock:
    """The clock of a ledger on this machine."""
    clock = LedgerClock(Database("sqlite:///nowhere"))
    await clock.look()
    return clock


class Ledger:
    """Batches of endless rows, all leased, oldest first."""

    async def lease(self, *_: Any) -> list[RunningBatch]:
        return [RunningBatch(batch_id, "bulk", None) for batch_id in BATCHES]

    async def pending(self, _batch_id: str, after_row: int, limit: int, _stream: object) -> list[PendingRow]:
        return [PendingRow(after_row + 1 + number, 0, "+8613800138000") for number in range(limit)]

    async def mark_queued(self, *_: Any) -> None:
        pass


class Broker:
    """Confirms everything, and counts the messages of each batch."""

    is_ready = True

    def __init__(self) -> None:
        self.published: Counter[str] = Counter()
        self.feeder: Feeder | None = None
        self.all_had_turns = asyncio.Event()

    async def publish_all(self, messages: Sequence[Outgoing], _timeout_s: float) -> dict[int, Any]:
        self.published.update(message.correlation_id for message in messages)
        if len(self.published) == len(BATCHES) or self.published.total() > 20 * len(BATCHES):
            self.all_had_turns.set()
        assert self.feeder is not None
        self.feeder.wake("")  # so that leases are renewed before every turn
        return {}

    async def depth(self, _queue: str) -> int:
        return BOUND - 1


async def test_with_room_for_one_number_at_a_time_every_batch_has_its_turn() -> None:
    ledger: Any = Ledger()
    broker: Any = Broker()
    broker.feeder = Feeder(
        (ledger, await right_clock()), broker, QueuedMarker(ledger), broker.depth, BOUND, "dispatcher"
    )
    feeding = asyncio.create_task(broker.feeder.run())
    async with asyncio.timeout(30):
        await broker.all_had_turns.wait()
    feeding.cancel()
    assert set(broker.published) == set(BATCHES)
    assert max(broker.published.values()) <= 2


class Small:
    """One batch of ten rows; those that are published stay pending until they are marked."""

    def __init__(self) -> None:
        self.pending_rows = list(range(10))

    async def lease(self, *_: Any) -> list[RunningBatch]:
        return [RunningBatch("one", "bulk", None)] if self.pending_rows else []

    async def pending(self, _batch_id: str, after_row: int, limit: int, _stream: object) -> list[PendingRow]:
        rows = [row for row in self.pending_rows if row > after_row]
        return [PendingRow(row, 0, "+8613800138000") for row in rows[:limit]]

    async def mark_queued(self, _batch_id: str, rows: Sequence[PendingRow], _now_ms: int) -> None:
        self.pending_rows = sorted(set(self.pending_rows) - {row.row for row in rows})


class Queue:
    """Takes messages but for the third, at its first publish; `ready` are in the queue."""

    is_ready = True

    def __init__(self, ready: int = 0) -> None:
        self.ready = ready
        self.taken: list[str] = []
        self.refused = False

    async def publish_all(self, messages: Sequence[Outgoing], _timeout_s: float) -> dict[int, Any]:
        failed: dict[int, Any] = {}
        for position, message in enumerate(messages):
            if message.message_id == "one:2" and not self.refused:
                self.refused = True
                failed[position] = "full"
            else:
                self.taken.append(str(message.message_id))
        return failed

    async def depth(self, _queue: str) -> int:
        return self.ready


async def fed(ledger: Any, queue: Any, bound: int, until: Any) -> None:
    """Feed until a condition holds; AssertionError where it never does."""
    marker = QueuedMarker(ledger)
    feeder = Feeder((ledger, await right_clock()), queue, marker, queue.depth, bound, "dispatcher")
    working = asyncio.gather(feeder.run(), marker.run())
    try:
        async with asyncio.timeout(20):
            while not until():
                await asyncio.sleep(0.01)
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def test_what_is_not_confirmed_is_published_again_and_what_is_not_marked_yet_is_not() -> None:
    ledger, queue = Small(), Queue()
    await fed(ledger, queue, 100, lambda: not ledger.pending_rows)
    assert sorted(queue.taken) == sorted(f"one:{row}" for row in range(10))


async def test_a_lane_is_fed_once_a_quarter_of_its_bound_is_free() -> None:
    ledger, queue = Small(), Queue(ready=31)
    queue.refused = True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await fed(ledger, queue, 40, lambda: queue.taken)
    assert not queue.taken
    queue.ready = 30
    await fed(ledger, queue, 40, lambda: not ledger.pending_rows)
    assert len(queue.taken) == 10
