"""The dispatcher's way in: a batch and its rows, written in pieces that a crash can interrupt anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import orjson
from sqlalchemy import Row, Table, delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import now_ms
from shared.domain.options import BatchOptions
from shared.domain.states import BatchState, State
from shared.errors import BatchConflict
from shared.ledger.counters import Changes, count, moved
from shared.ledger.database import Database
from shared.ledger.suppressions import EVERY_SENDER, OPTED_OUT, OPTED_OUT_REASON, suppressed_among
from shared.ledger.tables import batches, counter, messages
from shared.messages import BatchMessage

_COPIED = ("batch_id", "row_no", "recipient", "text", "segments", "state", "error_code", "error_reason", "variables")


class NewRow(NamedTuple):
    """A number as the dispatcher writes it first: `pending`, or final already. `text` only where it is its own."""

    recipient: str
    state: State
    text: str | None = None
    segments: int | None = None
    error_code: str | None = None
    error_reason: str | None = None
    variables: str | None = None
    """JSON: what fills the batch's template for it, where it has values of its own."""


class Content(NamedTuple):
    """A batch's text: as it was before variables were filled in, and as it is `sent` to every number that has no text
    of its own."""

    unfilled: str
    sent: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is written, and the text and the error that it was begun with."""

    rows_written: int
    content: Content | None
    error_code: str | None

    def after(self, rows: int) -> Self:
        """The progress when that many more are written."""
        return replace(self, rows_written=self.rows_written + rows)


class IntakeLedger:
    """Writes batches. Each call is one transaction; rows are written in order, each exactly once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, batch: BatchMessage, content: Content | None, error: tuple[str, str] | None) -> Progress:
        """Write the batch's row, or find what an earlier delivery of the same message has written.

        All recipients count as pending until their rows are there. `error` is the (code, reason) of a batch that
        cannot be sent as a whole; a delivery that finds such an error from before begins anew, unless the batch was
        cancelled. One that finds a batch given up halfway goes on where it stopped. BatchConflict where the id belongs
        to another request.
        """
        values = _batch_values(batch, content, error)
        async with self._database.writing() as connection:
            if await insert_new(connection, batches, values, sqlite=self._database.is_sqlite):
                return Progress(0, content, error and error[0])
            found = (await connection.execute(_FOUND.where(batches.c.id == batch.batch_id))).one()
            # A batch that nobody could read is there without a fingerprint.
            if found.fingerprint not in ("", batch.fingerprint):
                raise BatchConflict(f"batch {batch.batch_id} was accepted before with another content")
            if found.error_code is not None and found.content is not None:
                await _take_up_again(connection, batch.batch_id, found.recipients - found.rows_written)
                return Progress(found.rows_written, _content(found), None)
            if found.error_code is None or found.state == BatchState.CANCELLED:
                return Progress(found.rows_written, _content(found), found.error_code)
            # None of its numbers ever had a text, so none was given to anybody.
            await connection.execute(delete(messages).where(messages.c.batch_id == batch.batch_id))
            zero = {counter(state): 0 for state in State}
            await connection.execute(
                update(batches).where(batches.c.id == batch.batch_id).values({"finished_at_ms": None, **zero, **values})
            )
            return Progress(0, content, error and error[0])

    async def write(
        self,
        batch_id: str,
        progress: Progress,
        rows: Sequence[NewRow],
        now_ms: int,
        sender_name: str = EVERY_SENDER,
    ) -> bool:
        """Write the next rows; False, and nothing written, where the batch is not as `progress` says any more: another
        dispatcher has written meanwhile, or has given the batch up.

        Pending rows of a batch that was cancelled meanwhile are written as cancelled, those of recipients who opted out
        from the sender name as suppressed.
        """
        first_row = progress.rows_written
        async with self._database.writing() as connection:
            # This locks the batch's row: a cancel finds these rows written, or they find the batch cancelled.
            moved = await connection.execute(
                update(batches)
                .where(batches.c.id == batch_id, batches.c.rows_written == first_row)
                .where(batches.c.error_code.is_not_distinct_from(progress.error_code))
                .values(rows_written=first_row + len(rows), written_at_ms=now_ms)
                .returning(batches.c.state)
            )
            state = moved.scalar()
            if state is None:
                return False
            if state == BatchState.CANCELLED:
                rows = [_cancelled(row) for row in rows]
            else:
                rows = await self._without_opted_out(connection, rows, sender_name)
            await self._insert(connection, batch_id, first_row, rows, now_ms)
            await count(connection, _no_longer_pending(batch_id, rows), now_ms)
        return True

    async def _without_opted_out(
        self, connection: AsyncConnection, rows: Sequence[NewRow], sender_name: str
    ) -> Sequence[NewRow]:
        pending = [row.recipient for row in rows if row.state is State.PENDING]
        found = await suppressed_among(connection, pending, sender_name, sqlite=self._database.is_sqlite)
        return [_suppressed(row) if row.recipient in found else row for row in rows] if found else rows

    async def give_up(self, batch_id: str, code: str, reason: str, now_ms: int, recipients: int = 0) -> None:
        """Keep why a batch cannot be written (any further), so that it can be asked for.

        What of it has no row yet counts as failed; a batch that is not there at all is kept as one of so many
        `recipients`, all failed. A batch that is all written stays as it is, and so does one that was given up before.
        """
        values = {
            "id": batch_id, "fingerprint": "", "state": BatchState.FINISHED, **BatchOptions().options,
            "accepted_at_ms": now_ms, "finished_at_ms": now_ms, "recipients": recipients,
            "rows_written": recipients, counter(State.FAILED): recipients,
            "error_code": code, "error_reason": reason,
        }  # fmt: skip
        this = batches.c.id == batch_id
        async with self._database.writing() as connection:
            if await insert_new(connection, batches, values, sqlite=self._database.is_sqlite):
                return
            found = (await connection.execute(_FOUND.where(this).with_for_update())).one()
            missing = found.recipients - found.rows_written
            if found.content is not None and (found.error_code is not None or not missing):
                return
            # A batch with a text may be taken up again, where its message turns up after all: rows_written tells where.
            written = found.rows_written if found.content is not None else found.recipients
            error = {"error_code": code, "error_reason": reason, "rows_written": written}
            await connection.execute(update(batches).where(this).values(error))
            await count(connection, moved([(batch_id, State.PENDING, State.FAILED)], missing), now_ms)

    async def _insert(
        self, connection: AsyncConnection, batch_id: str, first_row: int, rows: Sequence[NewRow], now_ms: int
    ) -> None:
        records = [
            (batch_id, row_no, row.recipient, row.text, row.segments, row.state.value, row.error_code,
             row.error_reason, row.variables, now_ms)
            for row_no, row in enumerate(rows, first_row)
        ]  # fmt: skip
        columns = (*_COPIED, "updated_at_ms")
        if self._database.is_sqlite:
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT INTO messages ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own columns
            await connection.exec_driver_sql(statement, records)
            return
        # COPY takes a tenth of the time that INSERT takes.
        raw: Any = (await connection.get_raw_connection()).driver_connection
        await raw.copy_records_to_table("messages", records=records, columns=columns)


_FOUND = select(
    batches.c.fingerprint,
    batches.c.recipients,
    batches.c.rows_written,
    batches.c.content,
    batches.c.unfilled,
    batches.c.error_code,
    batches.c.state,
)


def _content(found: Row[*tuple[Any, ...]]) -> Content | None:
    if found.content is None:
        return None
    return Content(found.content if found.unfilled is None else found.unfilled, found.content)


async def _take_up_again(connection: AsyncConnection, batch_id: str, missing: int) -> None:
    """Undo `give_up`: what has no row yet is pending again."""
    no_error = {"error_code": None, "error_reason": None, "written_at_ms": now_ms()}
    await connection.execute(update(batches).where(batches.c.id == batch_id).values(no_error))
    await count(connection, moved([(batch_id, State.FAILED, State.PENDING)], missing), now_ms())


def _cancelled(row: NewRow) -> NewRow:
    return row._replace(state=State.CANCELLED) if row.state is State.PENDING else row


def _suppressed(row: NewRow) -> NewRow:
    if row.state is not State.PENDING:
        return row
    return NewRow(row.recipient, State.SUPPRESSED, error_code=OPTED_OUT, error_reason=OPTED_OUT_REASON)


def _no_longer_pending(batch_id: str, rows: Sequence[NewRow]) -> Changes:
    """Every row counts as pending until it is written."""
    return moved((batch_id, State.PENDING, row.state) for row in rows if row.state is not State.PENDING)


async def insert_new(connection: AsyncConnection, table: Table, values: dict[str, Any], *, sqlite: bool) -> bool:
    """Insert unless the id is there already; whether it was inserted."""
    inserting = sqlite_insert(table) if sqlite else postgres_insert(table)
    result = await connection.execute(inserting.values(values).on_conflict_do_nothing())
    return bool(result.rowcount)


def _batch_values(batch: BatchMessage, content: Content | None, error: tuple[str, str] | None) -> dict[str, Any]:
    scheduled = batch.send_at_ms is not None and batch.send_at_ms > batch.accepted_at_ms
    code, reason = error or (None, None)
    return {
        "id": batch.batch_id,
        "fingerprint": batch.fingerprint,
        "state": BatchState.SCHEDULED if scheduled and not error else BatchState.RUNNING,
        **batch.options,
        "template_id": batch.template_id,
        "content": content and content.sent,
        "unfilled": content.unfilled if content and content.unfilled != content.sent else None,
        "variables": orjson.dumps(batch.variables).decode() if batch.template_id is not None else None,
        "accepted_at_ms": batch.accepted_at_ms,
        "send_at_ms": batch.send_at_ms,
        "expires_at_ms": batch.expires_at_ms,
        "recipients": len(batch.recipients),
        "rows_written": 0,
        "written_at_ms": now_ms(),
        "error_code": code,
        "error_reason": reason,
        counter(State.PENDING): len(batch.recipients),
    }
