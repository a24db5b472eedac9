"""Receipts in the ledger: which numbers they settle, on both databases."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select, text

from shared.clock import now_ms
from shared.domain.outcome import Outcome
from shared.domain.receipts import Receipt, ReceiptStatus, Reference, digest_of
from shared.domain.states import State
from shared.ledger.database import Database
from shared.ledger.receipts import Fate, ProviderId, ReceiptsLedger
from shared.ledger.sending import Recorded, SendingLedger
from shared.ledger.suppressions import SuppressionLedger
from shared.ledger.tables import attempts, batches, counter, messages
from tests.integration.test_ledger import a_batch, written

pytestmark = pytest.mark.on_each
ARRIVED, FAILED, UNDER_WAY = ReceiptStatus.DELIVERED, ReceiptStatus.UNDELIVERED, ReceiptStatus.UNDER_WAY
MAIN = "default"


def receipt(batch_id: str, row: int, status: ReceiptStatus = ARRIVED, attempt: int | None = 1, **more: Any) -> Receipt:
    return Receipt(more.pop("provider", MAIN), status, Reference(batch_id, row, row, attempt), **more)


async def all_pending(database: Database, count: int, segments: int = 1) -> str:
    batch_id = (await written(database, a_batch(count))).batch_id
    async with database.writing() as connection:
        await connection.execute(text("UPDATE messages SET segments = :segments"), {"segments": segments})
    return batch_id


async def with_rows(database: Database, states: dict[State, int], *, segments: int = 1) -> str:
    """A batch with so many rows in each state, in this order, each at its first attempt; its id."""
    batch_id = await all_pending(database, sum(states.values()), segments)
    ledger, now = SendingLedger(database), now_ms()
    rows = iter(range(sum(states.values())))
    for state, number in states.items():
        keys = {(batch_id, next(rows)): 0 for _ in range(number)}
        if state is State.PENDING:
            continue
        await ledger.claim(keys, f"token {state}", now)
        if state is State.SENDING:
            continue
        code = None if state is State.SENT else "code"
        retry_at_ms = now if state is State.RETRYING else None
        outcome = Outcome(state, code, None, 200, "id-1" if code is None else None, retry_at_ms)
        await ledger.record([Recorded(*key, 1, outcome) for key in keys], now)
    return batch_id


async def standing(database: Database, batch_id: str) -> list[str]:
    """The states by row; the counters are what they add up to."""
    async with database.reading() as connection:
        rows = (
            await connection.execute(
                select(messages.c.state).where(messages.c.batch_id == batch_id).order_by(messages.c.row_no)
            )
        ).scalars()
        states = list(rows)
        counts = (await connection.execute(select(batches).where(batches.c.id == batch_id))).one()
    for state in State:
        assert getattr(counts, counter(state)) == states.count(state)
    return states


async def test_a_receipt_settles_what_was_sent_and_what_is_unclear(database: Database) -> None:
    batch_id = await with_rows(database, {State.SENT: 2, State.UNKNOWN: 2})
    told = [
        receipt(batch_id, 0),
        receipt(batch_id, 1, FAILED, code="E1", reason="off", at_ms=1_900_000_000_000),
        receipt(batch_id, 2),
        receipt(batch_id, 3, FAILED),
    ]
    assert await ReceiptsLedger(database).settle(told, now_ms()) == [Fate.SETTLED] * 4
    assert await standing(database, batch_id) == ["delivered", "undelivered", "delivered", "undelivered"]
    async with database.reading() as connection:
        row = (
            await connection.execute(select(messages).where(messages.c.batch_id == batch_id, messages.c.row_no == 1))
        ).one()
        kept = await connection.execute(select(attempts.c.row_no, attempts.c.state).order_by(attempts.c.row_no))
        # What was unclear was kept as that, and is kept as what it turned out to be.
        assert kept.all() == [(2, "delivered"), (3, "undelivered")]
    assert (row.error_code, row.error_reason, row.receipt_at_ms) == ("E1", "off", 1_900_000_000_000)


async def test_the_same_again_says_nothing_new_and_another_word_is_kept(database: Database) -> None:
    batch_id = await with_rows(database, {State.SENT: 1})
    ledger = ReceiptsLedger(database)
    both = [receipt(batch_id, 0), receipt(batch_id, 0), receipt(batch_id, 0, FAILED, code="E1", message_id="m")]
    assert await ledger.settle(both, now_ms()) == [Fate.SETTLED, Fate.PASSED, Fate.KEPT]
    assert await ledger.settle(both, now_ms()) == [Fate.PASSED, Fate.PASSED, Fate.KEPT]
    assert await standing(database, batch_id) == ["delivered"]
    (kept,) = await ledger.of(batch_id, 0)
    assert (kept.status, kept.error_code, kept.message_id, kept.provider) == (FAILED, "E1", "m", MAIN)


async def test_one_that_comes_before_the_record_waits_for_it(database: Database) -> None:
    batch_id = await with_rows(database, {State.SENDING: 1})
    ledger = ReceiptsLedger(database)
    assert await ledger.settle([receipt(batch_id, 0)], now_ms()) == [Fate.EARLY]
    outcome = Outcome(State.SENT, None, None, 200, "m")
    await SendingLedger(database).record([Recorded(batch_id, 0, 1, outcome)], now_ms())
    assert await ledger.settle([receipt(batch_id, 0)], now_ms()) == [Fate.SETTLED]
    assert await standing(database, batch_id) == ["delivered"]


async def test_a_text_that_arrived_is_not_sent_again_whatever_was_held_of_its_attempt(database: Database) -> None:
    batch_id = await with_rows(database, {State.RETRYING: 2, State.FAILED: 1, State.PENDING: 1})
    told = [receipt(batch_id, 0), receipt(batch_id, 1, FAILED), receipt(batch_id, 2), receipt(batch_id, 3)]
    fates = await ReceiptsLedger(database).settle(told, now_ms())
    assert fates == [Fate.SETTLED, Fate.KEPT, Fate.SETTLED, Fate.KEPT]
    assert await standing(database, batch_id) == ["delivered", "retrying", "delivered", "pending"]
    claims = await SendingLedger(database).claim({(batch_id, 0): 1, (batch_id, 2): 1}, "another", now_ms())
    assert claims.ours == {}


async def test_an_earlier_attempts_receipt_does_not_speak_for_the_latest(database: Database) -> None:
    batch_id = await with_rows(database, {State.RETRYING: 2})
    ledger, now = SendingLedger(database), now_ms()
    keys = {(batch_id, 0): 1, (batch_id, 1): 1}
    await ledger.claim(keys, "second", now)
    sent = Outcome(State.SENT, None, None, 200, "second-id")
    await ledger.record([Recorded(*key, 2, sent) for key in keys], now)
    told = [receipt(batch_id, 0, FAILED, 1), receipt(batch_id, 1, FAILED, None, message_id="first-id")]
    assert await ReceiptsLedger(database).settle(told, now) == [Fate.KEPT, Fate.KEPT]
    assert await standing(database, batch_id) == ["sent", "sent"]
    assert await ReceiptsLedger(database).settle([receipt(batch_id, 0, ARRIVED, 2)], now) == [Fate.SETTLED]


async def test_a_call_of_many_numbers_is_told_by_its_rows_and_the_number(database: Database) -> None:
    batch_id = await with_rows(database, {State.SENT: 5})
    async with database.reading() as connection:
        query = select(messages.c.recipient).where(messages.c.batch_id == batch_id).order_by(messages.c.row_no)
        numbers = list((await connection.execute(query)).scalars())
    call = Reference(batch_id, 1, 3)
    told = [Receipt(MAIN, ARRIVED, call, digest_of(batch_id, numbers[row])) for row in (2, 4, 3)]
    fates = await ReceiptsLedger(database).settle(told, now_ms())
    assert fates == [Fate.SETTLED, Fate.UNMATCHED, Fate.SETTLED]
    assert await standing(database, batch_id) == ["sent", "sent", "delivered", "delivered", "sent"]


@pytest.mark.parametrize(
    ("noted", "told"), [("0A00FF", "a00ff"), ("00012345", "12345"), ("1e240", "123456"), ("123456", "1E240")]
)
async def test_an_id_of_the_provider_leads_to_its_number_however_it_is_written(
    database: Database, noted: str, told: str
) -> None:
    batch_id = await with_rows(database, {State.SENT: 1})
    ledger = ReceiptsLedger(database)
    of_id = Receipt(MAIN, ARRIVED, message_id=told)
    assert await ledger.settle([of_id], now_ms()) == [Fate.UNMATCHED]
    async with database.writing() as connection:
        await connection.execute(text("UPDATE messages SET provider_message_id = :id"), {"id": noted})
    await ledger.note_ids(MAIN, [ProviderId(noted, batch_id, 0, 1)])
    assert await ledger.settle([of_id], now_ms()) == [Fate.SETTLED]


async def test_a_sender_notes_the_ids_of_a_provider_that_tells_no_more(database: Database) -> None:
    batch_id = await all_pending(database, 2)
    receipts = ReceiptsLedger(database)
    ledger = SendingLedger(database, ids=receipts)
    await ledger.claim({(batch_id, row): 0 for row in range(2)}, "token", now_ms())
    outcomes = [
        Recorded(batch_id, 0, 1, Outcome(State.SENT, None, None, 200, "one")),
        Recorded(batch_id, 1, 1, Outcome(State.FAILED, "E1", "no", 400)),
    ]
    await ledger.record(outcomes, now_ms())
    told = [Receipt(MAIN, ARRIVED, message_id=id_) for id_ in ("one", "two")]
    assert await receipts.settle(told, now_ms()) == [Fate.SETTLED, Fate.UNMATCHED]
    assert await standing(database, batch_id) == ["delivered", "failed"]


async def test_a_long_text_has_arrived_when_all_of_its_parts_have(database: Database) -> None:
    batch_id = await with_rows(database, {State.SENT: 2}, segments=3)
    ledger = ReceiptsLedger(database)

    async def part(row: int, name: str, status: ReceiptStatus) -> Fate:
        told = receipt(batch_id, row, status, message_id=name, is_of_a_part=True)
        return (await ledger.settle([told], now_ms()))[0]

    assert [await part(0, name, ARRIVED) for name in ("a", "b", "b")] == [Fate.PASSED] * 3
    assert await standing(database, batch_id) == ["sent", "sent"]
    assert await part(0, "c", ARRIVED) is Fate.SETTLED
    assert [await part(1, "d", ARRIVED), await part(1, "e", FAILED)] == [Fate.PASSED, Fate.SETTLED]
    assert [await part(1, "f", ARRIVED)] == [Fate.PASSED]
    assert await standing(database, batch_id) == ["delivered", "undelivered"]
    assert [kept.message_id for kept in await ledger.of(batch_id, 0)] == ["a", "b", "c"]


async def test_the_parts_of_an_earlier_attempt_say_nothing_of_the_latest(database: Database) -> None:
    batch_id = await with_rows(database, {State.RETRYING: 1}, segments=2)
    ledger, sending = ReceiptsLedger(database), SendingLedger(database)

    async def part(attempt: int, name: str, status: ReceiptStatus) -> Fate:
        told = receipt(batch_id, 0, status, attempt, message_id=name, is_of_a_part=True)
        return (await ledger.settle([told], now_ms()))[0]

    await part(1, "a", FAILED)
    await sending.claim({(batch_id, 0): 1}, "second", now_ms())
    await sending.record([Recorded(batch_id, 0, 2, Outcome(State.SENT, None, None, 200, "c"))], now_ms())
    assert await part(2, "c", ARRIVED) is Fate.PASSED
    assert await part(2, "d", ARRIVED) is Fate.SETTLED
    assert await standing(database, batch_id) == ["delivered"]


async def test_parts_that_are_told_at_the_same_time_are_all_counted(database: Database) -> None:
    batch_id = await with_rows(database, {State.SENT: 20}, segments=3)
    ledger = ReceiptsLedger(database)

    async def part(row: int, name: str) -> Sequence[Fate]:
        told = receipt(batch_id, row, ARRIVED, message_id=name, is_of_a_part=True)
        while (fates := await ledger.settle([told], now_ms())) == [Fate.EARLY]:
            pass
        return fates

    await asyncio.gather(*(part(row, f"{row}{name}") for row in range(20) for name in "abc"))
    assert await standing(database, batch_id) == ["delivered"] * 20


async def test_an_id_that_a_provider_gives_twice_keeps_no_record_back(database: Database) -> None:
    batch_id = await all_pending(database, 3)
    receipts = ReceiptsLedger(database)
    ledger = SendingLedger(database, ids=receipts)
    await ledger.claim({(batch_id, row): 0 for row in range(3)}, "token", now_ms())
    ids = ["SAME", "same", "00same"]
    await ledger.record(
        [Recorded(batch_id, row, 1, Outcome(State.SENT, None, None, 200, ids[row])) for row in range(3)], now_ms()
    )
    assert await standing(database, batch_id) == ["sent"] * 3


async def test_a_refused_receipt_opts_nobody_out_and_one_that_settles_does(database: Database) -> None:
    batch_id = await with_rows(database, {State.SENT: 2})
    ledger = ReceiptsLedger(database, lambda told: "" if told.code == "9" else None)
    told = [
        receipt(batch_id, 0, FAILED, code="9", provider="another"),
        receipt(batch_id, 1, FAILED, code="9"),
    ]
    assert await ledger.settle(told, now_ms()) == [Fate.UNMATCHED, Fate.SETTLED]
    assert await SuppressionLedger(database).count() == 1


async def test_what_the_ledger_does_not_know_is_said_to_be_unknown(database: Database) -> None:
    batch_id = await with_rows(database, {State.SENT: 1})
    told = [
        receipt(batch_id, 7),
        receipt("01a220c9-1a0b-8803-bff9-7096fa3e6c1d", 0),
        receipt(batch_id, 0, provider="another"),
        Receipt(MAIN, ARRIVED),
        receipt(batch_id, 0, UNDER_WAY),
    ]
    assert await ReceiptsLedger(database).settle(told, now_ms()) == [*[Fate.UNMATCHED] * 4, Fate.PASSED]
    assert await standing(database, batch_id) == ["sent"]


async def test_many_receipts_of_many_batches_at_once(database: Database) -> None:
    batch_ids = [await with_rows(database, {State.SENT: 50}) for _ in range(3)]
    told = [receipt(batch_id, row) for row in range(50) for batch_id in batch_ids]
    assert set(await ReceiptsLedger(database).settle(told, now_ms())) == {Fate.SETTLED}
    for batch_id in batch_ids:
        assert await standing(database, batch_id) == ["delivered"] * 50
