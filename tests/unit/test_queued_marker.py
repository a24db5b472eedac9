"""When confirmed numbers are marked, with a ledger that only notes what it is asked for."""

import asyncio
from collections.abc import Sequence
from typing import Any

from services.dispatcher.queued_marker import QueuedMarker
from shared.ledger.feeding import PendingRow, by_attempt


class Ledger:
    """Notes the rows that are marked, and lets go of each mark when told."""

    def __init__(self) -> None:
        self.marked: list[tuple[str, list[int]]] = []
        self.may_mark = asyncio.Event()
        self.may_mark.set()

    async def mark_queued(self, batch_id: str, rows: Sequence[PendingRow], _now_ms: int) -> None:
        await self.may_mark.wait()
        self.marked.append((batch_id, [row.row for row in rows]))


def rows(*numbers: int, attempt: int = 0) -> list[PendingRow]:
    return [PendingRow(number, attempt, "+8613800138000") for number in numbers]


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_what_is_not_hurried_is_marked_when_its_time_has_come() -> None:
    ledger: Any = Ledger()
    marker = QueuedMarker(ledger, after_s=0.05)
    running = asyncio.create_task(marker.run())
    marker.add(("one", "+"), rows(0, 1))
    assert marker.has_any(("one", "+"))
    assert not ledger.marked
    await until(lambda: not marker.has_any(("one", "+")))
    running.cancel()
    assert ledger.marked == [("one", [0, 1])]


async def test_a_batch_that_is_through_is_marked_at_once_in_one_statement_and_others_wait() -> None:
    ledger: Any = Ledger()
    marker = QueuedMarker(ledger)
    running = asyncio.create_task(marker.run())
    for numbers in ((0, 1), (2, 3)):
        marker.add(("one", "+"), rows(*numbers))
        marker.add(("two", "+"), rows(*numbers))
    marker.hurry(("one", "+"))
    await until(lambda: not marker.has_any(("one", "+")))
    running.cancel()
    assert ledger.marked == [("one", [0, 1, 2, 3])]
    assert marker.has_any(("two", "+"))


async def test_rows_count_as_unmarked_until_the_ledger_has_answered() -> None:
    ledger: Any = Ledger()
    ledger.may_mark.clear()
    marker = QueuedMarker(ledger)
    running = asyncio.create_task(marker.run())
    marker.add(("one", "+"), rows(0))
    marker.hurry(("one", "+"))
    await asyncio.sleep(0.05)
    assert marker.has_any(("one", "+"))
    marker.add(("one", "+"), rows(1))
    draining = asyncio.create_task(marker.drain())
    ledger.may_mark.set()
    async with asyncio.timeout(10):
        await draining
    running.cancel()
    assert not marker.has_any(("one", "+"))
    assert ledger.marked == [("one", [0]), ("one", [1])]


def test_rows_are_marked_by_attempt() -> None:
    assert by_attempt(rows(3, 2, 0) + rows(7, 1, attempt=1)) == {0: [0, 2, 3], 1: [1, 7]}
    assert by_attempt([]) == {}
