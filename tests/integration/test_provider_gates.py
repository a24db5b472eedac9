"""What an operator decides about a provider, as the ledger keeps it."""

import pytest

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
