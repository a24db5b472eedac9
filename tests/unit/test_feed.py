"""The feeder's turns, with a ledger and a broker that do only what is asked here."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from services.dispatcher.feed import Feeder
from shared.amqp.messages import Outgoing
from shared.ledger.feeding import PendingRow, RunningBatch

BOUND = 10
BATCHES = [f"batch-{number}" for number in range(5)]


class Ledger:
    """Batches of endless rows, all leased, oldest first."""

    async def lease(self, *_: Any) -> list[RunningBatch]:
        return [RunningBatch(batch_id, "bulk", None) for batch_id in BATCHES]

    async def pending(self, _batch_id: str, after_row: int, limit: int) -> list[PendingRow]:
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
        self.feeder.wake()  # so that leases are renewed before every turn
        return {}

    async def depth(self, _queue: str) -> int:
        return BOUND - 1


async def test_with_room_for_one_number_at_a_time_every_batch_has_its_turn() -> None:
    ledger: Any = Ledger()
    broker: Any = Broker()
    broker.feeder = Feeder(ledger, broker, broker.depth, BOUND, "dispatcher")
    feeding = asyncio.create_task(broker.feeder.run())
    async with asyncio.timeout(30):
        await broker.all_had_turns.wait()
    feeding.cancel()
    assert set(broker.published) == set(BATCHES)
    assert max(broker.published.values()) <= 2
