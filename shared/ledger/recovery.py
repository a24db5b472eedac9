"""Rows that stand still because the message that should move them is gone."""

from collections.abc import Sequence

from sqlalchemy import select

from shared.domain.outcome import Outcome
from shared.domain.recovery import StillRow, UnsettledBatch
from shared.domain.states import LIVE_STATES, BatchState, State
from shared.ledger.database import Database
from shared.ledger.tables import batches, counter, messages
from shared.ledger.transitions import Transition, moving


class RecoveryLedger:
    """Finds what stands still, and moves it on.

    Several dispatchers may do so at once: a row moves only as it was read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._move = Transition(_MOVES, _SETS, sqlite=database.is_sqlite, guard="messages.updated_at_ms = w.seen_at_ms")

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
                messages.c.provider,
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
            (batch_id, row.row, row.attempt, row.state, outcome.state, row.updated_at_ms, outcome.code, outcome.reason)
            for row, outcome in moves
        ]
        async with moving(self._database, now_ms) as transaction:
            return len(await transaction.apply(self._move, values))


_MOVES = {"seen_at_ms": "bigint", "error_code": "text", "error_reason": "text"}
_SETS = {
    "error_code": "w.error_code",
    "error_reason": "w.error_reason",
    "retry_at_ms": "NULL",
    "was_unclear": "messages.was_unclear OR w.from_state = 'sending'",
    "recoveries": "messages.recoveries + CASE WHEN w.state = 'pending' THEN 1 ELSE 0 END",
}
