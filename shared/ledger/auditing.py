"""What an audit reads of the ledger: each batch with its counters and its rows, counted in one snapshot."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, case, func, literal_column, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.states import BatchState, State
from shared.ledger.bulk_params import KEYS, as_rows, with_rows
from shared.ledger.database import Database
from shared.ledger.tables import batches, counter, messages

_PAGE = 10_000

_CANCELLED = "cancelled"  # the code of an unclear number that a cancel keeps from being sent again


@dataclass(frozen=True, slots=True)
class CountedRows:
    """A batch's rows in one state. `still` of them are live and were due before the audit's deadline."""

    number: int
    still: int
    first_row: int
    last_row: int
    newest_update_ms: int


@dataclass(frozen=True, slots=True)
class AuditedBatch:
    """A batch's row, and what its numbers' rows come to by state. `written_at_ms` is of its last row so far."""

    batch_id: str
    state: BatchState
    may_resend: bool
    recipients: int
    rows_written: int
    written_at_ms: int
    send_at_ms: int | None
    finished_at_ms: int | None
    error_code: str | None
    counters: dict[State, int]
    rows: dict[State, CountedRows]
    has_content: bool = True

    @property
    def was_given_up(self) -> bool:
        """Its message was lost halfway: what has no row counts as failed (`IntakeLedger.give_up`)."""
        return self.error_code is not None and self.has_content


@dataclass(frozen=True, slots=True)
class AuditedRow:
    """One number's row, without the number."""

    row: int
    state: State
    attempt: int
    was_unclear: bool
    decision: str | None


class AuditLedger:
    """Reads for an audit; nothing is changed, and no more than a page of rows is held."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def batch_ids(self, after: str | None, limit: int) -> list[str]:
        """The next batches' ids in their order, behind `after`."""
        query = select(batches.c.id).order_by(batches.c.id).limit(limit)
        if after is not None:
            query = query.where(batches.c.id > after)
        async with self._database.reading() as connection:
            return [str(batch_id) for batch_id in await connection.scalars(query)]

    async def totals(self) -> dict[State, int]:
        """All batches' counters together."""
        sums = [func.coalesce(func.sum(batches.c[counter(state)]), 0) for state in State]
        async with self._database.reading() as connection:
            found = (await connection.execute(select(*sums))).one()
        return {state: int(number) for state, number in zip(State, found, strict=True)}

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["AuditSnapshot"]:
        """One state of the ledger, whatever is written meanwhile."""
        async with self._database.reading() as connection:
            if not self._database.is_sqlite:  # there a transaction is a snapshot anyway
                await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            yield AuditSnapshot(connection, sqlite=self._database.is_sqlite)


class AuditSnapshot:
    """The batches and rows of one moment."""

    def __init__(self, connection: AsyncConnection, *, sqlite: bool) -> None:
        self._connection = connection
        self._among = with_rows(_AMONG, KEYS, sqlite=sqlite)

    async def batch(self, batch_id: str, still_before_ms: int) -> AuditedBatch | None:
        """The batch with its rows counted; None where there is none."""
        found = (await self._connection.execute(select(batches).where(batches.c.id == batch_id))).one_or_none()
        if found is None:
            return None
        rows = await self._connection.execute(_counted(batch_id, still_before_ms))
        return _audited(found, {State(state): CountedRows(*map(int, rest)) for state, *rest in rows})

    async def holes(self, batch_id: str, limit: int) -> list[tuple[int, int]]:
        """The first row numbers that are missing between two that are there, as ranges, both ends included."""
        found = await self._connection.execute(_HOLES, {"batch_id": batch_id, "limit": limit})
        return [(first, last) for first, last in found]

    async def standing_still(self, batch_id: str, state: State, still_before_ms: int, limit: int) -> list[int]:
        """The first rows of a state that were due before the deadline."""
        query = (
            select(messages.c.row_no)
            .where(messages.c.batch_id == batch_id, messages.c.state == state.value, _due_at < still_before_ms)
            .order_by(messages.c.row_no)
            .limit(limit)
        )
        return list(await self._connection.scalars(query))

    async def rows(self, batch_id: str) -> AsyncIterator[list[AuditedRow]]:
        """All rows of a batch in their order, a page at a time."""
        after = -1
        while True:
            query = (
                select(*_ROW)
                .where(messages.c.batch_id == batch_id, messages.c.row_no > after)
                .order_by(messages.c.row_no)
                .limit(_PAGE)
            )
            page = [_audited_row(row) for row in await self._connection.execute(query)]
            if not page:
                return
            yield page
            after = page[-1].row

    async def with_letter(
        self, batch_id: str, state: State, updated_after_ms: int, updated_before_ms: int
    ) -> AsyncIterator[list[int]]:
        """The numbers of the rows whose end a sender wrote a dead letter of within these times, a page at a time.

        Neither an operator's decision nor a cancel writes one, nor what never came to a call. A number that is sent
        again in another batch needs none: its letter may have been moved back, which changes nothing, and be gone.
        """
        after = -1
        while True:
            query = (
                select(messages.c.row_no)
                .where(messages.c.batch_id == batch_id, messages.c.row_no > after, messages.c.state == state.value)
                .where(messages.c.attempt > 0, messages.c.updated_at_ms.between(updated_after_ms, updated_before_ms))
                .where(or_(messages.c.decision.is_(None), messages.c.decision == "resend"))
                .where(messages.c.error_code.is_distinct_from(_CANCELLED), messages.c.resent_in.is_(None))
                .order_by(messages.c.row_no)
                .limit(_PAGE)
            )
            page = list(await self._connection.scalars(query))
            if not page:
                return
            yield page
            after = page[-1]

    async def among(self, batch_id: str, rows: Sequence[int]) -> list[AuditedRow]:
        """Those of these rows that there are."""
        # The batch in every wanted row: with one batch for all of them SQLite goes through them for each of its rows.
        wanted = {"rows": as_rows([(batch_id, row) for row in rows], KEYS)}
        return [_audited_row(row) for row in await self._connection.execute(self._among, wanted)]


# A number in a retry tier stands still from the end of its pause on.
_due_at = case(
    (messages.c.state == State.RETRYING.value, func.coalesce(messages.c.retry_at_ms, messages.c.updated_at_ms)),
    else_=messages.c.updated_at_ms,
)


_ROW = (
    messages.c.row_no,
    messages.c.state,
    messages.c.attempt,
    messages.c.was_unclear,
    messages.c.decision,
)


def _counted(batch_id: str, still_before_ms: int) -> Select[*tuple[Any, ...]]:
    return (
        select(
            messages.c.state,
            func.count(),
            func.sum(case((_due_at < still_before_ms, literal_column("1")), else_=literal_column("0"))),
            func.min(messages.c.row_no),
            func.max(messages.c.row_no),
            func.max(messages.c.updated_at_ms),
        )
        .where(messages.c.batch_id == batch_id)
        .group_by(messages.c.state)
    )


_HOLES = text(
    """
    SELECT row_no + 1, following - 1 FROM (
        SELECT row_no, LEAD(row_no) OVER (ORDER BY row_no) AS following FROM messages WHERE batch_id = :batch_id
    ) AS numbered WHERE following > row_no + 1 ORDER BY row_no LIMIT :limit
    """
)
_AMONG = """
    SELECT messages.row_no, messages.state, messages.attempt, messages.was_unclear, messages.decision
    FROM {rows} JOIN messages ON messages.batch_id = w.batch_id AND messages.row_no = w.row_no
"""


def _audited(batch: Row[*tuple[Any, ...]], rows: dict[State, CountedRows]) -> AuditedBatch:
    values = batch._mapping
    return AuditedBatch(
        batch_id=str(values["id"]),
        state=BatchState(values["state"]),
        may_resend=values["on_unknown"] == "resend",
        recipients=values["recipients"],
        rows_written=values["rows_written"],
        written_at_ms=values["written_at_ms"],
        send_at_ms=values["send_at_ms"],
        finished_at_ms=values["finished_at_ms"],
        error_code=values["error_code"],
        counters={state: values[counter(state)] for state in State},
        rows=rows,
        has_content=values["content"] is not None,
    )


def _audited_row(row: Row[*tuple[Any, ...]]) -> AuditedRow:
    number, state, attempt, was_unclear, decision = row
    return AuditedRow(number, State(state), attempt, bool(was_unclear), decision)
