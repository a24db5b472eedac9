"""Rows that stand still because the message that should move them is gone."""

from collections.abc import Sequence

from sqlalchemy import select

from shared.domain.outcome import Outcome
from shared.domain.recovery import StillRow, UnsettledBatch
from shared.domain.states import LIVE_STATES, BatchState, State
from shared.ledger.attempts import AttemptWriter
from shared.ledger.bulk_params import as_rows, with_rows
from shared.ledger.counters import count, moved
from shared.ledger.database import Database
from shared.ledger.tables import batches, counter, messages


class RecoveryLedger:
    """Finds what stands still, and moves it on.

    Several dispatchers may do so at once: a row moves only as it was read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._move = with_rows(_MOVE, _MOVES, sqlite=database.is_sqlite)
        self._attempts = AttemptWriter(sqlite=database.is_sqlite)

    async def unsettled(self) -> list[UnsettledBatch]:
        """The batches that are not through yet, oldest first."""
        live = sum((batches.c[counter(state)] for state in LIVE_STATES), start=batches.c.n_pending * 0)
        query = (
            select(
                batches.c.id,
                batches.c.state,
                batches.c.lane,
                batches.c.provider,
                batches.c.on_unknown,
                batches.c.recipients - batches.c.rows_written,
                batches.c.written_at_ms,
            )
            .where(batches.c.state != BatchState.FINISHED.value, live > 0)
            .order_by(batches.c.accepted_at_ms, batches.c.id)
        )
        async with self._database.reading() as connection:
            return [
                UnsettledBatch(str(batch_id), BatchState(state), lane, provider, on_unknown == "resend", *rest)
                for batch_id, state, lane, provider, on_unknown, *rest in await connection.execute(query)
            ]

    async def still(self, batch: UnsettledBatch, before_ms: int, after_row: int, limit: int) -> list[StillRow]:
        """The next rows behind `after_row` that are not final and have not moved since `before_ms`, in row order.

        Pending ones are the feeder's, unless the batch was cancelled.
        """
        waiting = LIVE_STATES if batch.state is BatchState.CANCELLED else LIVE_STATES - {State.PENDING}
        query = (
            select(
                messages.c.row_no,
                messages.c.state,
                messages.c.attempt,
                messages.c.recipient,
                messages.c.updated_at_ms,
                messages.c.retry_at_ms,
                messages.c.first_at_ms,
                messages.c.recoveries,
                messages.c.was_unclear,
            )
            .where(messages.c.batch_id == batch.batch_id, messages.c.row_no > after_row)
            .where(messages.c.state.in_(sorted(waiting)), messages.c.updated_at_ms < before_ms)
            .order_by(messages.c.row_no)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [StillRow(row, State(state), *rest) for row, state, *rest in await connection.execute(query)]

    async def move(self, batch_id: str, moves: Sequence[tuple[StillRow, Outcome]], now_ms: int) -> int:
        """Give each row its outcome, if it still stands as it was read; how many did."""
        values = [
            (batch_id, row.row, row.attempt, row.state, row.updated_at_ms, outcome.state, outcome.code, outcome.reason)
            for row, outcome in moves
        ]
        before = {row.row: row.state for row, _outcome in moves}
        async with self._database.writing() as connection:
            found = await connection.execute(self._move, {"rows": as_rows(values, _MOVES), "now_ms": now_ms})
            after = {row: State(state) for row, state in found}
            cut_off = {(batch_id, row) for row in after if before[row] is State.SENDING}
            await self._attempts.keep(connection, cut_off, now_ms)
            changes = moved((batch_id, before[row], state) for row, state in after.items())
            await count(connection, changes, now_ms)
        return len(after)


_MOVES = {
    "batch_id": "uuid",
    "row_no": "integer",
    "attempt": "integer",
    "from_state": "text",
    "seen_at_ms": "bigint",
    "state": "text",
    "error_code": "text",
    "error_reason": "text",
}
_MOVE = """
    UPDATE messages SET state = w.state, error_code = w.error_code, error_reason = w.error_reason, retry_at_ms = NULL,
           was_unclear = messages.was_unclear OR w.from_state = 'sending',
           recoveries = recoveries + CASE WHEN w.state = 'pending' THEN 1 ELSE 0 END, updated_at_ms = :now_ms
    FROM {rows}
    WHERE messages.batch_id = w.batch_id AND messages.row_no = w.row_no AND messages.attempt = w.attempt
      AND messages.state = w.from_state AND messages.updated_at_ms = w.seen_at_ms
    RETURNING messages.row_no, messages.state
"""
