"""Who gets room for a body, who waits, and who gives way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest

from services.api.serving.problems import Problem
from services.api.serving.room import FREE_BYTES, Held, Room

NEVER_S, AT_ONCE_S = 600.0, 0.0


@asynccontextmanager
async def coming(room: Room, size: int) -> AsyncIterator[Held]:
    """A body of which so many counted octets have come."""
    with room.body() as held:
        async with asyncio.timeout(NEVER_S) as held.deadline:
            await room.grow(held, FREE_BYTES + size)
            yield held


async def has_come(room: Room, size: int, then: Callable[[], object] = lambda: None) -> None:
    async with coming(room, size):
        then()


async def comes_slowly(room: Room, size: int) -> None:
    async with coming(room, size):
        await asyncio.sleep(NEVER_S)


async def waits(task: asyncio.Task[None], held: Held) -> None:
    """Return when the task had every chance to go on, and has not."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    assert not held.gives_way


async def test_the_first_octets_of_a_body_need_no_room() -> None:
    room = Room(0, NEVER_S, NEVER_S)
    with room.body() as held:
        await room.grow(held, FREE_BYTES)
    assert held.counted == 0


async def test_a_body_waits_for_one_that_is_being_worked_on() -> None:
    room = Room(100, NEVER_S, AT_ONCE_S)
    async with coming(room, 60) as first:
        first.is_whole = True
        second = asyncio.create_task(has_come(room, 60))
        await waits(second, first)
    await asyncio.wait_for(second, 10)


@pytest.mark.parametrize("slow_after_s", [AT_ONCE_S, 0.2])
async def test_a_slow_body_gives_way_to_another_as_soon_as_it_is_slow(slow_after_s: float) -> None:
    room = Room(100, NEVER_S, slow_after_s)
    first = asyncio.create_task(comes_slowly(room, 60))
    await asyncio.sleep(0)
    await asyncio.wait_for(has_come(room, 60), 10)
    with pytest.raises(TimeoutError):
        await first


async def test_a_body_whose_own_time_is_over_in_this_very_moment_is_left_to_end_by_itself() -> None:
    room = Room(100, NEVER_S, AT_ONCE_S)

    async def ends_late() -> None:
        with room.body() as held:
            async with asyncio.timeout(0.01) as held.deadline:
                await room.grow(held, FREE_BYTES + 60)
                try:
                    await asyncio.sleep(NEVER_S)
                finally:
                    await asyncio.sleep(0.1)  # its time is over, and it has not yet come to its end

    first = asyncio.create_task(ends_late())
    await asyncio.sleep(0.05)
    await asyncio.wait_for(has_come(room, 60), 10)
    with pytest.raises(TimeoutError):
        await first


async def test_of_two_the_one_that_came_longest_gives_way() -> None:
    room = Room(100, NEVER_S, AT_ONCE_S)
    ended: list[str] = []

    async def slow(name: str) -> None:
        try:
            await comes_slowly(room, 50)
        except TimeoutError:
            ended.append(name)

    tasks = []
    for name in ("first", "second"):
        tasks.append(asyncio.create_task(slow(name)))
        await asyncio.sleep(0.01)
    await asyncio.wait_for(has_come(room, 40), 10)
    assert ended == ["first"]
    tasks[1].cancel()


async def test_who_would_wait_for_others_that_wait_is_refused_and_the_others_go_on() -> None:
    room = Room(100, NEVER_S, NEVER_S)
    async with coming(room, 50) as first:
        async with coming(room, 50) as second:
            first_goes_on = asyncio.create_task(room.grow(first, FREE_BYTES + 80))
            await waits(first_goes_on, second)
            with pytest.raises(Problem) as raised:
                await room.grow(second, FREE_BYTES + 80)
        assert raised.value.status == HTTPStatus.SERVICE_UNAVAILABLE
        await asyncio.wait_for(first_goes_on, 10)


async def test_who_waits_too_long_is_refused() -> None:
    room = Room(100, 0.1, NEVER_S)
    async with coming(room, 60):
        with pytest.raises(Problem) as raised:
            await has_come(room, 60)
        assert raised.value.status == HTTPStatus.SERVICE_UNAVAILABLE


async def test_the_room_of_what_ended_in_any_way_is_there_again() -> None:
    room = Room(100, 0.1, NEVER_S)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await has_come(room, 100, lambda: 1 // 0)
        with pytest.raises(Problem):
            await has_come(room, 101)
    await has_come(room, 100)
