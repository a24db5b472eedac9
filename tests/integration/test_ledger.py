"""The ledger on both databases: what is written, claimed, recorded and counted, also by several at once."""

import asyncio
import os
import re
import stat
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.clock import now_ms
from shared.domain.message import Key
from shared.domain.outcome import Outcome
from shared.domain.states import State
from shared.errors import BatchConflict, LedgerBroken, LedgerUnavailable
from shared.ids import new_batch_id
from shared.ledger.bulk_params import KEYS, single_statement
from shared.ledger.database import Database
from shared.ledger.feeding import MARK_QUEUED_STATEMENT, FeedingLedger
from shared.ledger.intake import Content, IntakeLedger, NewRow
from shared.ledger.reading import ReadingLedger
from shared.ledger.sending import Recorded, SendingLedger
from shared.ledger.sending_sql import CLAIM_STATEMENT, SENT_STATEMENT
from shared.ledger.tables import batches
from shared.ledger.templates import TemplateLedger
from shared.messages import BatchMessage
from tests.support import transitions
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.on_each


KEPT = Content("kept $kind", "kept text")
CHANGED = Content("another $kind, from a template that changed meanwhile", "another text")


def a_batch(recipients: int, **fields: object) -> BatchMessage:
    numbers = [f"+86138{row:08d}" for row in range(recipients)]
    values = {"batch_id": new_batch_id(now_ms()), "fingerprint": "f", "accepted_at_ms": now_ms(), "recipients": numbers}
    return BatchMessage.model_validate({**values, **fields})


async def written(database: Database, batch: BatchMessage) -> BatchMessage:
    intake = IntakeLedger(database)
    progress = await intake.begin(batch, Content(text := batch.content or "text", text), None)
    rows = [NewRow(str(number), State.PENDING, segments=1) for number in batch.recipients]
    assert await intake.write(batch.batch_id, progress, rows, now_ms())
    return batch


async def counts(database: Database, batch: BatchMessage) -> dict[str, int]:
    view = await ReadingLedger(database).batch(batch.batch_id)
    assert view is not None
    return view.counts


async def states(database: Database, batch: BatchMessage) -> dict[str, int]:
    """The rows themselves, counted."""
    found: dict[str, int] = {}
    for message in await ReadingLedger(database).messages(batch.batch_id, 100_000):
        found[message.state] = found.get(message.state, 0) + 1
    return found


def attempts_of(batch: BatchMessage, *, attempt: int = 0) -> dict[Key, int]:
    return {(batch.batch_id, row): attempt for row in range(len(batch.recipients))}


async def test_services_that_start_together_migrate_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    await asyncio.gather(*(database.migrate() for database in databases))
    assert await ReadingLedger(databases[0]).batches(10) == []
    for database in databases:
        await database.close()


async def test_a_batch_that_is_deleted_takes_its_numbers_along(database: Database) -> None:
    gone, kept = [await written(database, a_batch(3)) for _ in range(2)]
    async with database.writing() as connection:
        await connection.execute(text("DELETE FROM batches WHERE id = :id"), {"id": gone.batch_id})
        found = (await connection.execute(text("SELECT DISTINCT batch_id FROM messages"))).scalars()
        assert [str(batch_id) for batch_id in found] == [kept.batch_id]


async def test_a_statement_whose_connection_breaks_is_followed_by_one_that_works(postgres_url: str) -> None:
    database = Database(postgres_url)
    try:
        for _ in range(10):  # more than the connections that are kept
            with pytest.raises(LedgerUnavailable):
                await database.run("SELECT pg_terminate_backend(pg_backend_pid())")
            ((answer,),) = await database.run("SELECT CAST($1 AS bigint)", 7)
            assert answer == 7
            with pytest.raises(LedgerBroken, match="no_such_table"):
                await database.run("SELECT 1 FROM no_such_table")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await database.run("SELECT pg_sleep(60)")
    finally:
        await database.close()


async def test_a_client_that_a_dying_server_confused_is_an_outage(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's last words, between two statements, leave asyncpg in the middle of an operation that nobody began;
    seen in the fault suite, and made here where it is raised."""

    async def confused(*_arguments: object, **_options: object) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")

    database = Database(postgres_url)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(asyncpg.Connection, "fetch", confused)
            with pytest.raises(LedgerUnavailable):
                await database.run("SELECT 1")
        ((answer,),) = await database.run("SELECT 7")
        assert answer == 7
    finally:
        await database.close()


async def test_a_row_is_claimed_by_one_of_many_that_try(database: Database) -> None:
    batch = await written(database, a_batch(50))
    senders = [SendingLedger(database) for _ in range(5)]
    results = await asyncio.gather(
        *(sender.claim(attempts_of(batch), f"token-{n}", now_ms()) for n, sender in enumerate(senders))
    )
    claimed = [key for claims in results for key in claims.ours]
    assert sorted(claimed) == sorted(attempts_of(batch))
    assert await counts(database, batch) == {"sending": 50} == await states(database, batch)


async def test_a_stale_copy_claims_nothing(database: Database) -> None:
    batch = await written(database, a_batch(1))
    sender = SendingLedger(database)
    first = await sender.claim(attempts_of(batch), "a", now_ms())
    (row,) = first.ours.values()
    await sender.record([Recorded(row.batch_id, row.row, row.attempt, Outcome(State.RETRYING, "x", "y"))], now_ms())
    assert not (await sender.claim(attempts_of(batch), "b", now_ms())).ours
    assert (await sender.claim(attempts_of(batch, attempt=1), "c", now_ms())).ours


async def test_a_row_keeps_how_many_of_its_attempts_do_not_count(database: Database) -> None:
    batch = await written(database, a_batch(1))
    sender, revoked = SendingLedger(database), Outcome(State.RETRYING, "http_401", "Wrong key", 401, uncounted=True)
    for attempt, outcome in enumerate((revoked, Outcome(State.RETRYING, "busy", "Later", 503), revoked)):
        (row,) = (await sender.claim(attempts_of(batch, attempt=attempt), f"token-{attempt}", now_ms())).ours.values()
        await sender.record([Recorded(row.batch_id, row.row, row.attempt, outcome)], now_ms())
    (row,) = (await sender.claim(attempts_of(batch, attempt=3), "last", now_ms())).ours.values()
    assert (row.attempt, row.uncounted) == (4, 2)
    # A copy of an older outcome counts nothing twice.
    await sender.record([Recorded(row.batch_id, row.row, 3, revoked)], now_ms())
    (row,) = (await sender.claim(attempts_of(batch, attempt=3), "last", now_ms())).ours.values()
    assert row.uncounted == 2


async def test_a_claim_whose_answer_was_lost_can_be_asked_for_again(database: Database) -> None:
    batch = await written(database, a_batch(3))
    sender = SendingLedger(database)
    first = await sender.claim(attempts_of(batch), "token", now_ms())
    again = await sender.claim(attempts_of(batch), "token", now_ms())
    assert again.ours == first.ours
    assert (await sender.claim(attempts_of(batch), "other", now_ms())).ours == {}
    assert await counts(database, batch) == {"sending": 3}


async def test_an_outcome_of_an_older_attempt_changes_nothing(database: Database) -> None:
    batch = await written(database, a_batch(1))
    sender = SendingLedger(database)
    await sender.claim(attempts_of(batch), "a", now_ms())
    await sender.record([Recorded(batch.batch_id, 0, 7, Outcome(State.SENT))], now_ms())
    assert await counts(database, batch) == {"sending": 1}


async def test_a_late_answer_ends_a_row_that_was_held_as_unclear(database: Database) -> None:
    batch = await written(database, a_batch(1))
    sender = SendingLedger(database)
    (row,) = (await sender.claim(attempts_of(batch), "a", now_ms())).ours.values()
    assert await sender.move([(row, Outcome(State.UNKNOWN, "sender_died", "…"))], now_ms()) == {row.key}
    assert await counts(database, batch) == {"unknown": 1}
    await sender.record([Recorded(row.batch_id, 0, row.attempt, Outcome(State.SENT))], now_ms())
    assert await counts(database, batch) == {"sent": 1} == await states(database, batch)


async def test_a_move_of_a_row_that_changed_meanwhile_does_nothing(database: Database) -> None:
    batch = await written(database, a_batch(1))
    sender = SendingLedger(database)
    (row,) = (await sender.claim(attempts_of(batch), "a", now_ms())).ours.values()
    await sender.record([Recorded(row.batch_id, 0, row.attempt, Outcome(State.SENT))], now_ms())
    assert await sender.move([(row, Outcome(State.UNKNOWN))], now_ms()) == set()
    assert await counts(database, batch) == {"sent": 1}


async def test_a_batch_finishes_with_its_last_number_and_runs_again_when_one_is_sent_again(database: Database) -> None:
    batch = await written(database, a_batch(2))
    sender, reading = SendingLedger(database), ReadingLedger(database)
    rows = list((await sender.claim(attempts_of(batch), "a", now_ms())).ours.values())
    await sender.record([Recorded(rows[0].batch_id, 0, 1, Outcome(State.SENT))], now_ms())
    view = await reading.batch(batch.batch_id)
    assert view is not None
    assert (view.status, view.finished_at_ms) == ("running", None)
    await sender.record([Recorded(rows[1].batch_id, 1, 1, Outcome(State.FAILED, "code", "why"))], now_ms())
    view = await reading.batch(batch.batch_id)
    assert view is not None
    assert view.status == "finished"
    assert view.finished_at_ms
    moved_back = await sender.claim({(batch.batch_id, 1): 1}, "b", now_ms())
    assert list(moved_back.ours) == [(batch.batch_id, 1)]
    view = await reading.batch(batch.batch_id)
    assert view is not None
    assert (view.status, view.finished_at_ms) == ("running", None)


async def test_writing_goes_on_where_a_crash_cut_it_off(database: Database) -> None:
    batch, intake = a_batch(4), IntakeLedger(database)
    rows = [NewRow(f"+8613800138{row:03d}", State.PENDING) for row in range(2)]
    begun = await intake.begin(batch, KEPT, None)
    assert begun.rows_written == 0
    assert await intake.write(batch.batch_id, begun, rows, now_ms())
    assert await counts(database, batch) == {"pending": 4}
    progress = await intake.begin(batch, CHANGED, None)
    assert (progress.rows_written, progress.content) == (2, KEPT)
    assert not await intake.write(batch.batch_id, begun, rows, now_ms())
    end = [NewRow("1", State.INVALID), NewRow("+8613800138000", State.DUPLICATE)]
    assert await intake.write(batch.batch_id, progress, end, now_ms())
    assert (
        await counts(database, batch) == {"pending": 2, "invalid": 1, "duplicate": 1} == await states(database, batch)
    )


async def test_a_batch_that_the_version_before_began_goes_on_as_it_was_begun(database: Database) -> None:
    batch, intake = a_batch(1), IntakeLedger(database)
    await intake.begin(batch, KEPT, None)
    async with database.writing() as connection:
        before = {"content": "kept $kind", "unfilled": None}
        await connection.execute(batches.update().where(batches.c.id == batch.batch_id).values(before))
    progress = await intake.begin(batch, KEPT, None)
    assert progress.content == Content("kept $kind", "kept $kind")


async def test_a_number_without_a_text_of_its_own_is_sent_what_all_are_sent(database: Database) -> None:
    batch, intake = a_batch(2), IntakeLedger(database)
    progress = await intake.begin(batch, KEPT, None)
    rows = [NewRow("+8613800138000", State.PENDING), NewRow("+8613800138001", State.PENDING, "its own")]
    assert await intake.write(batch.batch_id, progress, rows, now_ms())
    claims = await SendingLedger(database).claim(attempts_of(batch), "me", now_ms())
    assert [claims.ours[key].text for key in sorted(claims.ours)] == ["kept text", "its own"]


async def test_a_batch_given_up_halfway_is_taken_up_where_it_stopped(database: Database) -> None:
    batch, intake = a_batch(4), IntakeLedger(database)
    begun = await intake.begin(batch, KEPT, None)
    rows = [NewRow(f"+8613800138{row:03d}", State.PENDING) for row in range(4)]
    assert await intake.write(batch.batch_id, begun, rows[:2], now_ms())
    for _ in range(2):
        await intake.give_up(batch.batch_id, "batch_message_lost", "The broker lost it", now_ms())
        assert await counts(database, batch) == {"pending": 2, "failed": 2}
    # Who was still at it, writes nothing any more.
    assert not await intake.write(batch.batch_id, begun.after(2), rows[2:], now_ms())
    again = await intake.begin(batch, CHANGED, None)
    assert (again.rows_written, again.content, again.error_code) == (2, KEPT, None)
    assert await counts(database, batch) == {"pending": 4}
    assert await intake.write(batch.batch_id, again, rows[2:], now_ms())
    assert await counts(database, batch) == {"pending": 4} == await states(database, batch)


async def test_two_requests_under_one_id_are_a_conflict(database: Database) -> None:
    batch = await written(database, a_batch(1))
    with pytest.raises(BatchConflict):
        await IntakeLedger(database).begin(
            a_batch(1, batch_id=batch.batch_id, fingerprint="g"), Content("text", "text"), None
        )


async def test_a_batch_that_failed_as_a_whole_can_be_begun_anew(database: Database) -> None:
    batch, intake = a_batch(2), IntakeLedger(database)
    begun = await intake.begin(batch, None, ("template_unknown", "There is no template 9"))
    failed = [NewRow(str(number), State.FAILED, error_code="template_unknown") for number in batch.recipients]
    assert await intake.write(batch.batch_id, begun, failed, now_ms())
    view = await ReadingLedger(database).batch(batch.batch_id)
    assert view is not None
    assert (view.status, view.counts, view.error_code) == ("finished", {"failed": 2}, "template_unknown")
    assert (await intake.begin(batch, Content("now there is one", "now there is one"), None)).rows_written == 0
    assert await counts(database, batch) == {"pending": 2}
    assert await states(database, batch) == {}


async def test_a_batch_is_fed_by_one_dispatcher_until_its_lease_ends(database: Database) -> None:
    batch = await written(database, a_batch(3))
    feeding, now = FeedingLedger(database), now_ms()
    assert [leased.batch_id for leased in await feeding.lease("one", now, 1000)] == [batch.batch_id]
    assert await feeding.lease("two", now + 500, 1000) == []
    assert [leased.batch_id for leased in await feeding.lease("two", now + 1001, 1000)] == [batch.batch_id]
    await feeding.release("two")
    assert [leased.batch_id for leased in await feeding.lease("one", now + 1002, 1000)] == [batch.batch_id]


async def test_a_lease_of_before_the_database_s_clock_was_set_back_holds_nobody_up(database: Database) -> None:
    batch = await written(database, a_batch(1))
    feeding = FeedingLedger(database)
    assert await feeding.lease("a", now_ms() + 8 * 3_600_000, 5000)
    (taken,) = await feeding.lease("b", now_ms(), 5000)
    assert taken.batch_id == batch.batch_id
    assert await feeding.lease("c", now_ms(), 5000) == []


async def test_a_scheduled_batch_is_leased_when_it_is_due(database: Database) -> None:
    now = now_ms()
    await written(database, a_batch(1, send_at_ms=now + 60_000))
    feeding = FeedingLedger(database)
    assert await feeding.lease("one", now, 1000) == []
    assert len(await feeding.lease("one", now + 60_000, 1000)) == 1


async def test_marking_queued_leaves_alone_what_a_sender_was_quicker_to_claim(database: Database) -> None:
    batch = await written(database, a_batch(3))
    feeding = FeedingLedger(database)
    rows = await feeding.pending(batch.batch_id, -1, 10)
    assert [row.row for row in rows] == [0, 1, 2]
    await SendingLedger(database).claim({(batch.batch_id, 1): 0}, "a", now_ms())
    await feeding.mark_queued(batch.batch_id, rows, now_ms())
    assert await counts(database, batch) == {"queued": 2, "sending": 1} == await states(database, batch)


async def test_a_pending_row_is_found_however_many_rows_lie_before_it(database: Database) -> None:
    batch = await written(database, a_batch(400))
    sending, feeding = SendingLedger(database), FeedingLedger(database)
    others = {key: 0 for key in attempts_of(batch) if key[1] not in (0, 377)}
    await sending.claim(others, "a", now_ms())
    assert [row.row for row in await feeding.pending(batch.batch_id, 0, 10)] == [377]
    assert await feeding.pending(batch.batch_id, 377, 10) == []


async def test_a_micro_batch_of_a_nearly_empty_ledger_is_found_by_key(postgres_url: str) -> None:
    """PostgreSQL keeps the plan: one that reads the whole table would still be used when the table is large."""
    database = Database(postgres_url)
    try:
        await database.migrate()
        await written(database, a_batch(200))
        look = "EXPLAIN SELECT 1 FROM {rows} JOIN messages m ON m.batch_id = w.batch_id AND m.row_no = w.row_no"
        lines = [line.strip() for (line,) in await database.run(single_statement(look, "rows", columns=KEYS), "[]")]
    finally:
        await database.close()
    assert lines[0].startswith("Nested Loop"), lines
    assert any("using messages_pkey" in line for line in lines), lines


_ALL_SENT = "UPDATE messages SET state = 'sent'"
_ONE_ROW_EACH = """
    INSERT INTO messages (batch_id, row_no, recipient, state, updated_at_ms)
    SELECT gen_random_uuid(), 0, '', 'sent', 0 FROM generate_series(1, 3000)
"""


@pytest.mark.parametrize("seen", [_ALL_SENT, _ONE_ROW_EACH], ids=["all-sent", "one-row-each"])
@pytest.mark.parametrize(
    ("statement", "values", "scans"),
    [
        (CLAIM_STATEMENT, ["rows", "token", "now_ms", "provider", "sender_name"], 2),
        (SENT_STATEMENT, ["rows", "now_ms"], 2),
        (MARK_QUEUED_STATEMENT, ["batch_id", "attempt", "rows", "first_row", "last_row", "now_ms"], 1),
    ],
    ids=["claim", "sent", "mark"],
)
async def test_numbers_are_found_by_key_whatever_postgresql_saw_last(
    postgres_url: str, statement: str, values: list[str], scans: int, seen: str
) -> None:
    """Where all were sent, nearly no row is taken for pending or being sent, and to read all for them seems cheap;
    where batches had one number, so does reading a whole batch."""
    columns = {"batch_id": "uuid", "row_no": "integer", "attempt": "integer", "provider_status": "integer"}
    if "{rows}" in statement:
        statement = single_statement(statement, *values, columns={**columns, "provider_message_id": "text"})
    else:
        statement = single_statement(statement, *values)
    unknown = ", ".join(["NULL"] * len(values))
    database = Database(postgres_url)
    try:
        await database.migrate()
        await transitions.lift(database)
        await written(database, a_batch(300))
        await database.run(seen)
        async with database.each_by_itself() as connection:
            for step in ("ANALYZE", "SET plan_cache_mode = force_generic_plan", f"PREPARE it AS {statement}"):
                await connection.exec_driver_sql(step)
            lines = [line.strip() for (line,) in await connection.exec_driver_sql(f"EXPLAIN EXECUTE it({unknown})")]
    finally:
        await database.close()
    found = [position for position, line in enumerate(lines) if "messages_pkey" in line]
    assert len(found) == scans, lines
    assert not any("hashed" in line for line in lines), lines
    for position in found:
        assert "Index Scan using messages_pkey" in lines[position], lines
        assert re.match(r"Index Cond: .*batch_id = .*row_no [=>]", lines[position + 1]), lines


async def test_what_is_pending_after_expires_at_ends_expired(database: Database) -> None:
    batch = await written(database, a_batch(2))
    await FeedingLedger(database).expire(batch.batch_id, now_ms())
    view = await ReadingLedger(database).batch(batch.batch_id)
    assert view is not None
    assert (view.status, view.counts) == ("finished", {"expired": 2})


async def test_many_senders_at_once_keep_counters_and_rows_equal(database: Database) -> None:
    """Overlapping claims and records, each of two batches and of outcomes of every kind, and marks beside them: no
    deadlock, nothing miscounted."""
    batches = [await written(database, a_batch(200)) for _ in range(2)]
    keys = [key for pair in zip(*(attempts_of(batch) for batch in batches), strict=True) for key in pair]
    ends = (State.SENT, State.FAILED, State.RETRYING)

    async def work(sender: int) -> None:
        ledger = SendingLedger(database)
        own = keys[::-1] if sender % 2 else keys
        for start in range(0, len(own), 30):
            part = dict.fromkeys(own[start : start + 30], 0)
            ours = (await ledger.claim(part, f"{sender}-{start}", now_ms())).ours.values()
            records = [
                Recorded(row.batch_id, row.row, row.attempt, Outcome(ends[row.row % 3], "code", "reason"))
                for row in ours
            ]
            await ledger.record(records, now_ms())
            await ledger.record(records, now_ms())

    feeding = FeedingLedger(database)

    async def mark(batch: BatchMessage) -> None:
        rows = await feeding.pending(batch.batch_id, -1, 200)
        for start in range(0, len(rows), 50):
            await feeding.mark_queued(batch.batch_id, rows[start : start + 50], now_ms())

    await asyncio.gather(*(work(sender) for sender in range(4)), *map(mark, batches))
    for batch in batches:
        assert await counts(database, batch) == {"sent": 67, "failed": 67, "retrying": 66}
        assert await states(database, batch) == {"sent": 67, "failed": 67, "retrying": 66}


async def test_what_is_marked_queued_twice_is_counted_once(database: Database) -> None:
    batch = await written(database, a_batch(3))
    feeding = FeedingLedger(database)
    rows = await feeding.pending(batch.batch_id, -1, 2)
    for _ in range(2):  # the first answer was lost
        await feeding.mark_queued(batch.batch_id, rows, now_ms())
    assert await counts(database, batch) == {"queued": 2, "pending": 1} == await states(database, batch)


async def test_a_batch_that_is_locked_keeps_nobody_from_leasing_the_others(postgres_url: str) -> None:
    database = Database(postgres_url)
    try:
        await database.migrate()
        locked, free = [await written(database, a_batch(1)) for _ in range(2)]
        feeding, now = FeedingLedger(database), now_ms()
        async with database.writing() as connection:
            await connection.execute(text("SELECT 1 FROM batches WHERE id = :id FOR UPDATE"), {"id": locked.batch_id})
            assert [leased.batch_id for leased in await feeding.lease("one", now, 1000)] == [free.batch_id]
        assert {leased.batch_id for leased in await feeding.lease("one", now, 1000)} == {locked.batch_id, free.batch_id}
    finally:
        await database.close()


async def test_batches_are_listed_newest_first_in_pages(database: Database) -> None:
    made = [await written(database, a_batch(1, accepted_at_ms=1000 + n // 2)) for n in range(5)]
    expected = [b.batch_id for b in sorted(made, key=lambda b: (b.accepted_at_ms, b.batch_id), reverse=True)]
    reading = ReadingLedger(database)
    first = await reading.batches(2)
    second = await reading.batches(9, before=(first[-1].accepted_at_ms, first[-1].batch_id))
    assert [view.batch_id for view in first + second] == expected


async def test_messages_are_listed_by_state_in_pages(database: Database) -> None:
    batch = await written(database, a_batch(5))
    await SendingLedger(database).claim({(batch.batch_id, 3): 0}, "a", now_ms())
    reading = ReadingLedger(database)
    assert [view.row for view in await reading.messages(batch.batch_id, 2)] == [0, 1]
    assert [view.row for view in await reading.messages(batch.batch_id, 2, after_row=1)] == [2, 3]
    assert [view.row for view in await reading.messages(batch.batch_id, 9, state=State.SENDING)] == [3]


async def test_templates_are_found_by_id(database: Database) -> None:
    templates = TemplateLedger(database)
    made = await templates.add("welcome", "Hello $name", now_ms())
    assert await templates.content(made.id) == "Hello $name"
    assert await templates.content(made.id + 1) is None
    assert await templates.all() == [made]


async def test_a_database_that_is_not_there_is_a_ledger_that_is_unavailable() -> None:
    database = Database("postgresql://nobody:x@127.0.0.1:1/none")
    with pytest.raises(LedgerUnavailable):
        await ReadingLedger(database).batches(1)
    await database.close()


async def cut_off(database: Database) -> None:
    """Leave a transaction while its connection still works on a statement."""
    async with database.writing() as connection:
        await connection.execute(text("SELECT 1"))
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        async with asyncio.timeout(0.05):
            await asyncio.shield(driver.execute("SELECT pg_sleep(1)"))


async def test_a_connection_that_cannot_even_be_rolled_back_is_a_ledger_that_is_unavailable(postgres_url: str) -> None:
    database = Database(postgres_url)
    await database.migrate()
    for _ in range(10):  # more than the pool has connections
        with pytest.raises(LedgerUnavailable, match="another operation is in progress"):
            await cut_off(database)
    assert await ReadingLedger(database).batches(1) == []
    await database.close()


async def test_the_ledgers_files_are_their_owners_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        database = Database(f"sqlite:///{tmp_path}/new/ledger.sqlite3")
        await database.migrate()
        async with database.writing() as connection:
            await connection.execute(text("DELETE FROM messages"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
        await database.close()
    finally:
        os.umask(before)
    assert len(modes) > 2
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


async def test_the_ledgers_of_all_tests_refuse_a_transition_that_the_table_lacks(database: Database) -> None:
    batch = await written(database, a_batch(1))
    (row,) = (await SendingLedger(database).claim(attempts_of(batch), "s1", 0)).ours.values()
    await SendingLedger(database).record([Recorded(*row.key, row.attempt, Outcome(State.SENT))], 0)
    with pytest.raises((DBAPIError, LedgerBroken), match="no such transition"):
        async with database.writing() as connection:
            await connection.execute(text("UPDATE messages SET state = 'pending'"))
    assert await states(database, batch) == {"sent": 1}


async def test_batches_are_found_by_a_tag(database: Database) -> None:
    labels = ["spring", "双十一"]
    tagged = [(await written(database, a_batch(1, tags=labels, accepted_at_ms=at))).batch_id for at in (1, 2, 3)]
    await written(database, a_batch(1, tags=["spring 2"]))
    await written(database, a_batch(1))
    reading = ReadingLedger(database)
    for tag in labels:
        assert [view.batch_id for view in await reading.batches(2, None, tag)] == [tagged[2], tagged[1]]
        assert [view.batch_id for view in await reading.batches(2, (2, tagged[1]), tag)] == [tagged[0]]
    assert await reading.batches(10, None, "summer") == []


@pytest.mark.parametrize("tag", ["spring", "summer"])
async def test_a_tag_that_few_batches_have_is_looked_up_in_its_index(postgres: PostgresServer, tag: str) -> None:
    database = Database(postgres.new_database())
    await written(database, a_batch(1, tags=["spring"]))
    others = """
        INSERT INTO batches (id, fingerprint, state, lane, provider, on_unknown, accepted_at_ms, recipients)
        SELECT gen_random_uuid(), 'f', 'finished', 'bulk', 'default', 'hold', number, 0
        FROM generate_series(1, 20000) AS number
    """
    async with database.writing() as connection:
        await connection.execute(text(others))
        await connection.execute(text("ANALYZE batches"))
    assert len(await ReadingLedger(database).batches(10, None, tag)) == (tag == "spring")

    async def scans() -> int:
        async with database.reading() as connection:
            query = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'batches_tagged'"
            return int(await connection.scalar(text(query)) or 0)

    async with asyncio.timeout(30):
        while not await scans():
            await asyncio.sleep(0.1)
    await database.close()
