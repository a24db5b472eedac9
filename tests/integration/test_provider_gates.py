"""What an operator decides about a provider, and how fast all senders call it, as the ledger keeps it."""

import asyncio
import time

import pytest
from sqlalchemy import text

from services.sender.rate_limiter import RateLimiter
from shared.ledger.database import Database
from shared.ledger.provider_gates import Cause, Held, ProviderGates

pytestmark = pytest.mark.on_each


async def paused(gates: ProviderGates) -> Held:
    (held,) = await gates.held()
    assert (held.provider, held.cause, held.until_ms) == ("one", Cause.PAUSED, None)
    return held


async def test_a_pause_tells_since_when_and_a_second_one_changes_nothing(database: Database) -> None:
    gates = ProviderGates(database)
    assert await gates.pause("one")
    first = await paused(gates)
    assert first.since_ms is not None
    assert not await gates.pause("one")
    assert (await paused(gates)).since_ms == first.since_ms


async def test_resume_ends_a_pause_and_what_was_known_against_the_provider(database: Database) -> None:
    gates = ProviderGates(database)
    await gates.pause("one")
    await gates.avoid("one", 60, "no connection")
    assert await gates.resume("one")
    assert await gates.standings() == {}
    assert not await gates.resume("one")


async def later(database: Database, seconds: float) -> None:
    """Have so much time passed for the paces."""
    async with database.writing() as connection:
        passed = {"us": round(seconds * 1_000_000)}
        earlier = "slowed_until_us = slowed_until_us - :us, slowed_at_us = slowed_at_us - :us"
        await connection.execute(text(f"UPDATE provider_gates SET {earlier}"), passed)


async def test_a_pace_is_halved_once_for_what_was_under_way_together_and_climbs_back(database: Database) -> None:
    gates = ProviderGates(database)
    assert [await gates.slow("one", 0), await gates.slow("one", 0)] == [0.5, None]
    assert 0.5 <= (await gates.standings())["one"].pace < 0.75
    assert (await gates.standings())["one"].held is None
    await later(database, 15)
    assert 0.75 <= (await gates.standings())["one"].pace < 1
    slowed_to = await gates.slow("one", 0)
    assert slowed_to is not None
    assert 0.375 <= slowed_to < 0.5
    await later(database, 60)
    assert await gates.standings() == {}
    assert await gates.slow("one", 0) == 0.5


async def test_a_pace_climbs_from_the_end_of_the_pause_on_and_falls_meanwhile_but_not_to_nothing(
    database: Database,
) -> None:
    gates = ProviderGates(database)
    assert await gates.slow("one", 100) == 0.5
    await later(database, 2)
    assert (await gates.standings())["one"].pace == 0.5
    assert [await gates.slow("one", 100), await gates.slow("one", 100)] == [0.25, None]
    for _ in range(5):
        await later(database, 2)
        slowed_to = await gates.slow("one", 100)
    assert slowed_to == 1 / 8


async def test_resume_has_the_whole_rate_used_again(database: Database) -> None:
    gates = ProviderGates(database)
    await gates.slow("one", 100)
    assert await gates.resume("one")
    assert await gates.standings() == {}
    assert await gates.slow("one", 0) == 0.5


async def test_the_first_slot_leaves_the_time_that_was_asked_for(database: Database) -> None:
    gates = ProviderGates(database)
    first, second = await gates.reserve("one", 1, 0.1, soonest_s=100), await gates.reserve("one", 1, 0.1, soonest_s=90)
    assert 99 < first.wait_s <= 100
    assert second.first_us - first.first_us == 100_000


async def test_fifty_senders_get_no_more_slots_than_the_rate_has(database: Database) -> None:
    gates, began_at_s = ProviderGates(database), time.monotonic()
    limiters = [RateLimiter(gates, "one", 500, 300) for _ in range(50)]

    async def send(limiter: RateLimiter) -> None:
        for _ in range(5):
            await limiter.reserve(4)

    await asyncio.gather(*map(send, limiters))
    next_slot_s = await limiters[0].reserve(1)
    assert next_slot_s is not None
    assert next_slot_s - began_at_s >= 50 * 5 * 4 / 500
