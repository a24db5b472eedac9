"""The dispatcher's way out: which numbers go onto the outbound queues next."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import orjson
from sqlalchemy import TextClause, case, func, or_, select, text, update

from shared.domain.outcome import Outcome
from shared.domain.routing import ANY_NUMBER, ANY_PROVIDER, EVERY_NUMBER, Stream
from shared.domain.states import BatchState, State
from shared.ledger.bulk_params import single_statement
from shared.ledger.counters import COUNTED
from shared.ledger.database import Database
from shared.ledger.tables import batches, counter
from shared.ledger.transitions import Transition, moving

_WIDER = 4
_CLOCKS_DIFFER_MS = 10_000
_LEASE_PAUSES_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class RunningBatch:
    """A batch that this dispatcher feeds."""

    batch_id: str
    lane: str
    expires_at_ms: int | None
    pin: str = ANY_PROVIDER
    """The only provider that may have it, or `ANY_PROVIDER`."""
    template_id: int | None = None


class PendingRow(NamedTuple):
    """A number to publish. `recipient` is in full: what is published shows it masked."""

    row: int
    attempt: int
    recipient: str
    may_be_at: str | None = None
    """The provider that may have sent it already: no other may, unless a person has decided so."""
    segments: int | None = None


class FeedingLedger:
    """Leases batches to one dispatcher at a time, reads their pending rows, marks what the broker has confirmed.

    Two dispatchers that feed one batch (a lease that ran out while its holder still lived) publish a row twice; the
    claim lets only one of the copies be sent.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._refuse = Transition(_REFUSAL, _SET_REFUSAL, sqlite=database.is_sqlite)
        self._mark_queued_statement = single_statement(MARK_QUEUED_STATEMENT, *_MARK_VALUES)

    async def lease(self, dispatcher: str, now_ms: int, lease_ms: int) -> list[RunningBatch]:
        """Start the batches that are due, and take or renew the lease of all that have pending numbers and no other
        living holder; oldest first."""
        has_work = batches.c[counter(State.PENDING)] > 0
        unfinished = batches.c.state.in_([BatchState.RUNNING, BatchState.SCHEDULED])
        due = or_(batches.c.state == BatchState.RUNNING, batches.c.send_at_ms <= now_ms)
        # One that would hold for longer than a lease does is of a time before the database's clock was set back.
        over = or_(batches.c.fed_until_ms < now_ms, batches.c.fed_until_ms > now_ms + lease_ms + _CLOCKS_DIFFER_MS)
        free = or_(batches.c.fed_by == dispatcher, over)
        runs_out = or_(batches.c.fed_until_ms < now_ms + lease_ms // 2, over)
        wanted = select(batches.c.id).where(unfinished, due, has_work, free, runs_out).order_by(batches.c.id)
        # What a sender is just counting on is passed over: waiting for several in turn can deadlock, and one whose
        # holder stands still would hold up all. Tried again, since a busy batch is free for moments.
        lease = (
            update(batches)
            .where(batches.c.id.in_(wanted.with_for_update(skip_locked=True)))
            .values(state=BatchState.RUNNING, fed_by=dispatcher, fed_until_ms=now_ms + lease_ms)
        )
        passed_over = select(func.count()).select_from(wanted.subquery())
        held = (
            select(batches.c.id, batches.c.lane, batches.c.expires_at_ms, batches.c.provider, batches.c.template_id)
            .where(batches.c.state == BatchState.RUNNING, has_work)
            .where(batches.c.fed_by == dispatcher, batches.c.fed_until_ms > now_ms)
            .order_by(batches.c.accepted_at_ms, batches.c.id)
        )
        for pause_s in _LEASE_PAUSES_S:
            async with self._database.each_by_itself() as connection:
                await connection.execute(lease)
                if not await connection.scalar(passed_over):
                    break
            await asyncio.sleep(pause_s)
        async with self._database.reading() as connection:
            return [RunningBatch(str(batch_id), *rest) for batch_id, *rest in await connection.execute(held)]

    async def oldest_due_ms(self, now_ms: int) -> dict[str, int]:
        """By lane: since when the oldest batch has been due that has numbers which nobody has tried yet.

        What waits in a retry tier has been tried, and what is paused or scheduled is not due.
        """
        untried = batches.c[counter(State.PENDING)] + batches.c[counter(State.QUEUED)]
        due_ms = case(
            (batches.c.send_at_ms > batches.c.accepted_at_ms, batches.c.send_at_ms), else_=batches.c.accepted_at_ms
        )
        query = (
            select(batches.c.lane, func.min(due_ms))
            .where(batches.c.state.in_([BatchState.RUNNING, BatchState.SCHEDULED]), untried > 0, due_ms <= now_ms)
            .group_by(batches.c.lane)
        )
        async with self._database.reading() as connection:
            return {lane: due_ms for lane, due_ms in await connection.execute(query)}

    async def release(self, dispatcher: str) -> None:
        """Give every lease back, so that another dispatcher takes over at once."""
        async with self._database.writing() as connection:
            held = batches.c.fed_by == dispatcher, batches.c.fed_until_ms > 0
            await connection.execute(update(batches).where(*held).values(fed_until_ms=0))

    async def pending(
        self, batch_id: str, after_row: int, limit: int, stream: Stream = EVERY_NUMBER
    ) -> list[PendingRow]:
        """The next pending rows of a stream behind `after_row`, in row order, at most `limit`; none of a batch that
        does not run any more.

        Looked for in a range of rows, and in a wider one where that has none: asked for the first of all rows, a
        PostgreSQL that has no statistics of a new batch yet reads and sorts the whole batch every time.
        """
        width, (statement, prefixes) = limit, _pending_of(stream)
        async with self._database.reading() as connection:
            rows_written = await connection.scalar(_ROWS_OF_RUNNING, {"batch_id": batch_id}) or 0
            while after_row + 1 < rows_written:
                wanted = {"batch_id": batch_id, "after": after_row, "last": after_row + width, "limit": limit}
                found = await connection.execute(statement, {**wanted, **prefixes})
                if rows := [PendingRow._make(row) for row in found]:
                    return rows
                after_row, width = after_row + width, _WIDER * width
        return []

    async def mark_queued(self, batch_id: str, rows: Sequence[PendingRow], now_ms: int) -> None:
        """Mark these rows as queued, but for those that a sender claimed already; their publishes were confirmed.

        Only these rows and attempts: a row between them may have come back from a paused batch's queue meanwhile, and
        marked it would be queued and nowhere.
        """
        for attempt, row_numbers in by_attempt(rows).items():
            if self._database.is_sqlite:
                await self._mark_queued_in_sqlite(batch_id, attempt, row_numbers, now_ms)
            else:
                span = row_numbers[0], row_numbers[-1]
                await self._database.run(self._mark_queued_statement, batch_id, attempt, row_numbers, *span, now_ms)

    async def _mark_queued_in_sqlite(self, batch_id: str, attempt: int, row_numbers: list[int], now_ms: int) -> None:
        wanted = {"batch_id": batch_id, "attempt": attempt, "rows": orjson.dumps(row_numbers).decode()}
        async with moving(self._database, now_ms) as transaction:
            marked = await transaction.connection.execute(_MARK_QUEUED_IN_SQLITE, {**wanted, "now_ms": now_ms})
            transaction.count([(batch_id, State.PENDING, State.QUEUED)], marked.rowcount)

    async def refuse(self, batch_id: str, refused: Sequence[tuple[PendingRow, Outcome]], now_ms: int) -> int:
        """End pending rows that nobody can send; how many were still pending."""
        rows = [
            (batch_id, row.row, row.attempt, State.PENDING, outcome.state, outcome.code, outcome.reason)
            for row, outcome in refused
        ]
        async with moving(self._database, now_ms) as transaction:
            return len(await transaction.apply(self._refuse, rows))

    async def expire(self, batch_id: str, now_ms: int) -> int:
        """End the pending rows of a batch whose expires_at has passed; how many.

        Not those that may have been sent: they go to a sender, who ends them as unclear.
        """
        async with moving(self._database, now_ms) as transaction:
            expired = await transaction.connection.execute(_EXPIRE, {"batch_id": batch_id, "now_ms": now_ms})
            transaction.count([(batch_id, State.PENDING, State.EXPIRED)], expired.rowcount)
        return int(expired.rowcount)


def by_attempt(rows: Iterable[PendingRow]) -> dict[int, list[int]]:
    """The row numbers of each attempt, in their order."""
    found: dict[int, list[int]] = {}
    for each in sorted(rows):
        found.setdefault(each.attempt, []).append(each.row)
    return found


# Text: built anew for every chunk, the query would cost as much as all of its rows.
_ROWS_OF_RUNNING = text("SELECT rows_written FROM batches WHERE id = :batch_id AND state = 'running'")
_PENDING = """
    SELECT row_no, attempt, recipient,
           CASE WHEN was_unclear AND COALESCE(decision, '') <> 'resend'
                THEN COALESCE(provider, (SELECT b.provider FROM batches b WHERE b.id = batch_id)) END,
           segments
    FROM messages
    WHERE batch_id = :batch_id AND row_no > :after AND row_no <= :last AND state = 'pending'{of_stream}
    ORDER BY row_no LIMIT :limit
"""


@lru_cache(maxsize=256)
def _pending_of(stream: Stream) -> tuple[TextClause, Mapping[str, str]]:
    """The query for a stream's rows, and its parameters; prefixes have nothing but a plus and digits."""
    prefixes = {"prefix": f"{stream.prefix}%"} if stream.prefix != ANY_NUMBER else {}
    longer = {f"longer_{number}": f"{prefix}%" for number, prefix in enumerate(stream.longer)}
    like = [" AND recipient LIKE :prefix" for _ in prefixes] + [f" AND recipient NOT LIKE :{name}" for name in longer]
    return text(_PENDING.format(of_stream="".join(like))), {**prefixes, **longer}


_REFUSAL = {"error_code": "text", "error_reason": "text"}
_SET_REFUSAL = {name: f"w.{name}" for name in _REFUSAL}
_MARK_VALUES = ("batch_id", "attempt", "rows", "first_row", "last_row", "now_ms")
# No join: PostgreSQL may believe that no row is pending (it looked when all were sent), and then reads the whole table
# first, to join what it finds.
_MARK_QUEUED = """
    UPDATE messages SET state = 'queued', updated_at_ms = :now_ms
    WHERE batch_id = :batch_id AND row_no {rows} AND attempt = :attempt AND state = 'pending'
"""
_MARK_QUEUED_IN_SQLITE = text(_MARK_QUEUED.format(rows="IN (SELECT value FROM json_each(:rows))"))
# The span is a bound for a PostgreSQL that takes a batch for a few rows, and would look through all of it.
MARK_QUEUED_STATEMENT = f"""
    WITH marked AS (
             {_MARK_QUEUED.format(rows="= ANY(CAST(:rows AS integer[])) AND row_no BETWEEN :first_row AND :last_row")}
             RETURNING batch_id
         ),
         moves AS (SELECT batch_id, 'pending' AS before, 'queued' AS after FROM marked), {COUNTED}
    SELECT 1
"""  # noqa: S608 - made of our own statements
_EXPIRE = text(
    """
    UPDATE messages SET state = 'expired', error_code = 'expired', updated_at_ms = :now_ms,
           error_reason = 'Not sent before the batch''s expires_at'
    WHERE batch_id = :batch_id AND state = 'pending' AND NOT was_unclear
    """
)
