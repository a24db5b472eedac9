"""Micro-batches: what arrives within a few milliseconds, handled together."""

import asyncio
from typing import TypeVar

Item = TypeVar("Item")


async def next_batch(queue: asyncio.Queue[Item], most: int, linger_s: float) -> list[Item]:
    """Wait for one item, then take what else comes within `linger_s`, up to `most`."""
    batch = [await queue.get()]
    _take_ready(queue, batch, most)
    if len(batch) < most:
        await asyncio.sleep(linger_s)
        _take_ready(queue, batch, most)
    return batch


def _take_ready(queue: asyncio.Queue[Item], batch: list[Item], most: int) -> None:
    while len(batch) < most and not queue.empty():
        batch.append(queue.get_nowait())
