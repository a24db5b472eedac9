"""Micro-batches: what comes together is handled together."""

import asyncio

import pytest

from shared.micro_batch import next_batch

LONG_S = 60
"""Longer than a test may take: whoever sleeps this long has waited for nothing."""


def queue_of(*items: int) -> asyncio.Queue[int]:
    queue: asyncio.Queue[int] = asyncio.Queue()
    for item in items:
        queue.put_nowait(item)
    return queue


async def test_what_is_there_is_taken_in_order() -> None:
    assert await next_batch(queue_of(1, 2, 3), 10, 0) == [1, 2, 3]


@pytest.mark.parametrize(("most", "taken"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3])])
async def test_a_full_batch_does_not_linger_and_leaves_the_rest(most: int, taken: list[int]) -> None:
    queue = queue_of(1, 2, 3)
    async with asyncio.timeout(LONG_S / 3):
        assert await next_batch(queue, most, LONG_S) == taken
    assert queue.qsize() == 3 - most


async def test_what_comes_while_it_lingers_is_taken_too() -> None:
    queue = queue_of(1)
    batch = asyncio.create_task(next_batch(queue, 10, 0.05))
    await asyncio.sleep(0)
    queue.put_nowait(2)
    assert await batch == [1, 2]


async def test_what_comes_while_it_lingers_does_not_overfill_it() -> None:
    queue = queue_of(1)
    batch = asyncio.create_task(next_batch(queue, 2, 0.05))
    await asyncio.sleep(0)
    for item in (2, 3):
        queue.put_nowait(item)
    assert await batch == [1, 2]
    assert queue.get_nowait() == 3


async def test_an_empty_queue_is_waited_for() -> None:
    queue = queue_of()
    batch = asyncio.create_task(next_batch(queue, 10, 0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not batch.done()
    queue.put_nowait(1)
    assert await batch == [1]
