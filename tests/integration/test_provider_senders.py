"""Which senders serve a provider, as the ledger has heard of them."""

import asyncio

import pytest
from sqlalchemy import text

from shared.ledger.database import Database
from shared.ledger.provider_days import ProviderDays
from shared.ledger.provider_reloads import ProviderReloads
from shared.ledger.provider_senders import Activity, ProviderSenders, Served

pytestmark = pytest.mark.on_each


async def test_what_senders_say_adds_up_and_is_replaced_by_what_they_say_next(database: Database) -> None:
    senders = ProviderSenders(database)
    await senders.tell("a", {"one": Activity(3, 10, 1), "two": Activity()})
    await senders.tell("b", {"one": Activity(1, 5, 0)})
    await senders.tell("a", {"one": Activity(2, 20, 2), "two": Activity()})
    assert await senders.served() == {"one": Served(2, Activity(3, 25, 2)), "two": Served(1, Activity())}
    await senders.leave("a")
    assert await senders.served() == {"one": Served(1, Activity(1, 5, 0))}


async def test_whom_nobody_has_heard_of_lately_is_gone_and_forgotten_after_an_hour(database: Database) -> None:
    senders = ProviderSenders(database)
    for sender, age_s in (("a", 20), ("b", 4000)):
        await senders.tell(sender, {"one": Activity()})
        async with database.writing() as connection:
            ago = {"sender": sender, "us": age_s * 1_000_000}
            await connection.execute(
                text("UPDATE provider_senders SET seen_at_us = seen_at_us - :us WHERE sender = :sender"), ago
            )
    assert await senders.served() == {}
    await senders.tell("c", {"two": Activity()})
    async with database.reading() as connection:
        kept = set((await connection.execute(text("SELECT sender FROM provider_senders"))).scalars())
    assert kept == {"a", "c"}


async def test_each_request_to_read_the_file_again_is_counted(database: Database) -> None:
    reloads = ProviderReloads(database)
    assert await reloads.asked() == 0
    await reloads.ask()
    await reloads.ask()
    assert await reloads.asked() == 2


async def test_a_days_limit_is_never_passed_however_many_take_of_it(database: Database) -> None:
    days = ProviderDays(database)
    taken = await asyncio.gather(*(days.take("one", "2026-11-28", 3, 20) for _ in range(12)))
    assert sum(taken) == 6
    assert await days.take("one", "2026-11-28", 2, 20)
    assert not await days.take("one", "2026-11-28", 1, 20)
    assert not await days.take("two", "2026-11-28", 21, 20)
    for day in ("2026-11-29", "2026-11-30"):
        assert await days.take("one", day, 20, 20)
    async with database.reading() as connection:
        kept = set((await connection.execute(text("SELECT day FROM provider_days"))).scalars())
    assert kept == {"2026-11-29", "2026-11-30"}


async def test_whom_a_killed_sender_served_is_known_and_whom_one_served_that_ended_well_is_not(
    database: Database,
) -> None:
    senders = ProviderSenders(database)
    await senders.tell("a", {"one": Activity(), "two": Activity()})
    await senders.tell("b", {"one": Activity()})
    async with database.writing() as connection:
        await connection.execute(text("UPDATE provider_senders SET seen_at_us = seen_at_us - 20000000"))
    assert (await senders.served(), await senders.names()) == ({}, ["one", "two"])
    await senders.leave("a")
    assert await senders.names() == ["one"]
