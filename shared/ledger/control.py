"""Pausing, resuming and cancelling a batch."""

from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import now_ms
from shared.domain.states import LIVE_STATES, BatchState, State
from shared.errors import LedgerUnavailable
from shared.ledger.database import Database
from shared.ledger.tables import batches, messages
from shared.ledger.transitions import Transition, moving

_CHUNK_ROWS = 1000
_TRIES = 3
_PAUSABLE = (BatchState.RUNNING, BatchState.SCHEDULED)
_NOT_BEGUN = [state.value for state in State if state in LIVE_STATES - {State.SENDING}]
# What may have been sent becomes unclear, with a letter, at its next delivery or by the dispatcher's recovery.
_ENDS_NOW = and_(messages.c.state.in_(_NOT_BEGUN), messages.c.was_unclear.is_(False))


class ControlLedger:
    """Commands for whole batches. Each may be repeated, changes nothing where the batch's state does not allow it, and
    returns how the batch stands after it: None where the ledger has none of that id (yet).

    Calls that are under way end as they end, whatever the command.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cancel = Transition({}, {"error_code": "NULL", "error_reason": "NULL"}, sqlite=database.is_sqlite)

    async def pause(self, batch_id: str) -> BatchState | None:
        """Begin no number any more: senders hand back what waits in the queues, the dispatcher feeds nothing."""
        return await self._move(batch_id, _PAUSABLE, BatchState.PAUSED, paused_by="operator")

    async def resume(self, batch_id: str) -> BatchState | None:
        """Go on with a paused batch, or wait for its send_at again."""
        after = case((batches.c.send_at_ms > now_ms(), BatchState.SCHEDULED.value), else_=BatchState.RUNNING.value)
        return await self._move(batch_id, (BatchState.PAUSED,), after, paused_by=None, paused_reason=None, fuse_run=0)

    async def cancel(self, batch_id: str) -> BatchState | None:
        """Never send what has not begun; what may have been sent, and waited to be sent again, is unknown.

        The batch is cancelled at once, its rows in chunks: cut off in between, a repeated cancel ends the rest. Rows
        that are not written yet are written as cancelled; a number that is with a sender now and would be tried again
        ends at its next delivery, or with a repeated cancel.
        """
        state = await self._move(batch_id, (*_PAUSABLE, BatchState.PAUSED), BatchState.CANCELLED)
        last_row: int | None = -1
        while state is BatchState.CANCELLED and last_row is not None:
            last_row = await self._cancel_chunk(batch_id, last_row)
        return state

    async def _move(
        self, batch_id: str, before: tuple[BatchState, ...], after: BatchState | ColumnElement[str], **values: Any
    ) -> BatchState | None:
        this = batches.c.id == batch_id
        async with self._database.writing() as connection:
            await connection.execute(
                update(batches).where(this, batches.c.state.in_(before)).values(state=after, **values)
            )
            state = (await connection.execute(select(batches.c.state).where(this))).scalar()
        return None if state is None else BatchState(state)

    async def _cancel_chunk(self, batch_id: str, after_row: int) -> int | None:
        """Cancel the next rows behind `after_row`; the last of them, None where there is none."""
        # A sender that locks rows in another order makes a deadlock, and the database lets one of the two try again.
        for _ in range(_TRIES - 1):
            with suppress(LedgerUnavailable):
                return await self._try_chunk(batch_id, after_row)
        return await self._try_chunk(batch_id, after_row)

    async def _try_chunk(self, batch_id: str, after_row: int) -> int | None:
        async with moving(self._database, now_ms()) as transaction:
            rows = await _next_rows(transaction.connection, batch_id, after_row)
            if not rows:
                return None
            # Rows first, in row order, then the batch: the order in which senders lock them.
            locked = (await transaction.connection.execute(_locking(batch_id, rows[0], rows[-1]))).all()
            transaction.now_ms = now_ms()  # read under the lock: no call of these rows is later
            moves = [(batch_id, row.row_no, row.attempt, row.state, State.CANCELLED) for row in locked]
            await transaction.apply(self._cancel, moves)
            return rows[-1]


async def _next_rows(connection: AsyncConnection, batch_id: str, after_row: int) -> list[int]:
    query = (
        select(messages.c.row_no)
        .where(messages.c.batch_id == batch_id, messages.c.row_no > after_row, _ENDS_NOW)
        .order_by(messages.c.row_no)
        .limit(_CHUNK_ROWS)
    )
    return list((await connection.execute(query)).scalars())


def _locking(batch_id: str, first: int, last: int) -> Select[tuple[int, int, str]]:
    these = and_(messages.c.batch_id == batch_id, messages.c.row_no.between(first, last), _ENDS_NOW)
    columns = messages.c.row_no, messages.c.attempt, messages.c.state
    return select(*columns).where(these).order_by(messages.c.row_no).with_for_update()
