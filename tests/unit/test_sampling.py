"""Of too many log lines some are written, and how many more there were."""

import asyncio

from shared.sampling import Sampled


async def test_each_kind_has_room_of_its_own_and_a_new_second_has_room_again() -> None:
    told: list[tuple[str, int]] = []
    lines = Sampled(3, lambda kind, more: told.append((kind, more)))
    assert [lines.admits("a") for _ in range(5)] == [True, True, True, False, False]
    assert lines.admits("b")
    lines.flush()
    assert told == [("a", 2)]
    assert lines.admits("a")
    lines.flush()
    assert told == [("a", 2)]


async def test_how_many_more_there_were_is_told_without_another_line() -> None:
    told = asyncio.Event()
    lines = Sampled(1, lambda _kind, _more: told.set())
    assert [lines.admits("a") for _ in range(2)] == [True, False]
    async with asyncio.timeout(10):
        await told.wait()
