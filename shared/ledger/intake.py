"""The dispatcher's way in: a batch and its rows, written in pieces that a crash can interrupt anywhere."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import BatchConflict
from shared.ledger.counters import Changes, count
from shared.ledger.database import Database
from shared.ledger.tables import batches, counter, messages
from shared.messages import BatchMessage
from shared.states import BatchState, State

_COPIED = ("batch_id", "row_no", "recipient", "text", "segments", "state", "error_code", "error_reason")


@dataclass(frozen=True, slots=True)
class NewRow:
    """A number as the dispatcher writes it first: `pending`, or final already. `text` only where it is its own."""

    recipient: str
    state: State
    text: str | None = None
    segments: int | None = None
    error_code: str | None = None
    error_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is written, and the text that it was begun with."""

    rows_written: int
    content: str | None


class IntakeLedger:
    """Writes batches. Each call is one transaction; rows are written in order, each exactly once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, batch: BatchMessage, content: str | None, error: tuple[str, str] | None) -> Progress:
        """Write the batch's row, or find what an earlier delivery of the same message has written.

        All recipients count as pending until their rows are there. `error` is the (code, reason) of a batch that
        cannot be sent as a whole; when a delivery finds such an error from before, it begins anew.
        BatchConflict where the id belongs to another request.
        """
        values = _batch_values(batch, content, error)
        async with self._database.writing() as connection:
            if await _insert_new(connection, batches, values, sqlite=self._database.is_sqlite):
                return Progress(0, content)
            found = (await connection.execute(_FOUND.where(batches.c.id == batch.batch_id))).one()
            if found.fingerprint != batch.fingerprint:
                raise BatchConflict(f"batch {batch.batch_id} was accepted before with another content")
            if found.error_code is None:
                return Progress(found.rows_written, found.content)
            await connection.execute(delete(messages).where(messages.c.batch_id == batch.batch_id))
            zero = {counter(state): 0 for state in State}
            await connection.execute(
                update(batches).where(batches.c.id == batch.batch_id).values({"finished_at_ms": None, **zero, **values})
            )
            return Progress(0, content)

    async def write(self, batch_id: str, first_row: int, rows: Sequence[NewRow], now_ms: int) -> bool:
        """Write the next rows; False, and nothing written, where another dispatcher has written them meanwhile."""
        changes: Changes = Counter()
        for row in rows:
            if row.state is not State.PENDING:
                changes[batch_id, State.PENDING] -= 1
                changes[batch_id, row.state] += 1
        async with self._database.writing() as connection:
            moved = await connection.execute(
                update(batches)
                .where(batches.c.id == batch_id, batches.c.rows_written == first_row)
                .values(rows_written=first_row + len(rows))
            )
            if not moved.rowcount:
                return False
            await self._insert(connection, batch_id, first_row, rows, now_ms)
            await count(connection, changes, now_ms)
        return True

    async def give_up(self, batch_id: str, code: str, reason: str, now_ms: int) -> None:
        """Keep why a batch cannot be written (any further), so that it can be asked for.

        What of it has no row yet counts as failed; a batch that is not there at all is kept with no recipients.
        """
        values = {
            "id": batch_id, "fingerprint": "", "state": BatchState.FINISHED, "lane": "bulk", "provider": "default",
            "on_unknown": "hold", "accepted_at_ms": now_ms, "finished_at_ms": now_ms, "recipients": 0,
            "error_code": code, "error_reason": reason,
        }  # fmt: skip
        this = batches.c.id == batch_id
        async with self._database.writing() as connection:
            if await _insert_new(connection, batches, values, sqlite=self._database.is_sqlite):
                return
            unwritten = await connection.execute(
                select(batches.c.recipients - batches.c.rows_written).where(this).with_for_update()
            )
            missing = unwritten.scalar_one()
            error = {"error_code": code, "error_reason": reason, "rows_written": batches.c.recipients}
            await connection.execute(update(batches).where(this).values(error))
            changes: Changes = Counter({(batch_id, State.PENDING): -missing, (batch_id, State.FAILED): missing})
            await count(connection, changes, now_ms)

    async def _insert(
        self, connection: AsyncConnection, batch_id: str, first_row: int, rows: Sequence[NewRow], now_ms: int
    ) -> None:
        records = [
            (batch_id, row_no, row.recipient, row.text, row.segments, row.state.value, row.error_code,
             row.error_reason, now_ms)
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


_FOUND = select(batches.c.fingerprint, batches.c.rows_written, batches.c.content, batches.c.error_code)


async def _insert_new(connection: AsyncConnection, table: Table, values: dict[str, Any], *, sqlite: bool) -> bool:
    """Insert unless the id is there already; whether it was inserted."""
    inserting = sqlite_insert(table) if sqlite else postgres_insert(table)
    result = await connection.execute(inserting.values(values).on_conflict_do_nothing())
    return bool(result.rowcount)


def _batch_values(batch: BatchMessage, content: str | None, error: tuple[str, str] | None) -> dict[str, Any]:
    scheduled = batch.send_at_ms is not None and batch.send_at_ms > batch.accepted_at_ms
    code, reason = error or (None, None)
    return {
        "id": batch.batch_id,
        "fingerprint": batch.fingerprint,
        "state": BatchState.SCHEDULED if scheduled and not error else BatchState.RUNNING,
        "lane": batch.lane,
        "provider": batch.provider,
        "on_unknown": batch.on_unknown,
        "reference": batch.reference,
        "template_id": batch.template_id,
        "content": content,
        "accepted_at_ms": batch.accepted_at_ms,
        "send_at_ms": batch.send_at_ms,
        "expires_at_ms": batch.expires_at_ms,
        "recipients": len(batch.recipients),
        "rows_written": 0,
        "error_code": code,
        "error_reason": reason,
        counter(State.PENDING): len(batch.recipients),
    }
