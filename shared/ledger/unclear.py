"""Numbers that may have been sent, and what an operator decides about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.message import Key
from shared.domain.states import BatchState, State
from shared.errors import BatchCancelled
from shared.ledger.bulk_params import KEYS, after_key, as_rows, with_rows
from shared.ledger.database import Database
from shared.ledger.tables import batches, messages
from shared.ledger.transitions import Transition, moving


class Decision(StrEnum):
    """What becomes of an unclear number."""

    SENT = "sent"
    FAILED = "failed"
    RESEND = "resend"


_STATES = {Decision.SENT: State.SENT, Decision.FAILED: State.FAILED, Decision.RESEND: State.PENDING}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which unclear numbers are meant: all, or those that fit everything given. `recipient` is in E.164."""

    batch_id: str | None = None
    row: int | None = None
    recipient: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class UnclearGroup:
    """The unclear numbers with one code; `reason` is one of theirs. `in_cancelled` of them cannot be sent again."""

    code: str | None
    reason: str | None
    numbers: int
    in_cancelled: int


@dataclass(frozen=True, slots=True)
class UnclearRow:
    """An unclear number. `recipient` is in full: whoever shows it masks it."""

    batch_id: str
    row: int
    recipient: str
    code: str | None
    reason: str | None
    attempts: int
    since_ms: int


class UnclearLedger:
    """Finds unclear numbers and writes down what was decided."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._resolve = Transition({}, _RESOLVED, sqlite=database.is_sqlite)
        self._decided = with_rows(_DECIDED, KEYS, sqlite=database.is_sqlite)

    async def groups(self, scope: Scope) -> list[UnclearGroup]:
        """The unclear numbers counted by code, the most frequent first."""
        in_cancelled = func.count().filter(batches.c.state == BatchState.CANCELLED.value)
        columns = messages.c.error_code, func.min(messages.c.error_reason), func.count(), in_cancelled
        query = _unclear(select(*columns), scope).group_by(messages.c.error_code).order_by(func.count().desc())
        async with self._database.reading() as connection:
            return [UnclearGroup(*group) for group in await connection.execute(query)]

    async def rows(self, scope: Scope, limit: int) -> list[UnclearRow]:
        """The first unclear numbers, by batch and row."""
        query = _unclear(
            select(
                messages.c.batch_id,
                messages.c.row_no,
                messages.c.recipient,
                messages.c.error_code,
                messages.c.error_reason,
                messages.c.attempt,
                messages.c.updated_at_ms,
            ),
            scope,
        )
        async with self._database.reading() as connection:
            found = await connection.execute(query.order_by(messages.c.batch_id, messages.c.row_no).limit(limit))
            return [UnclearRow(str(batch_id), *rest) for batch_id, *rest in found]

    async def resolve(
        self, scope: Scope, decision: Decision, reason: str, after: Key | None, limit: int, now_ms: int
    ) -> list[Key]:
        """Write the decision for the next unclear numbers behind `after`, in one transaction; which they were.

        Numbers to be sent again are pending, and fed as soon as their batch runs; those of a cancelled batch are left
        out. BatchCancelled, and nothing written, where one is cancelled just now.
        """
        async with moving(self._database, now_ms) as transaction:
            found = await _locked(transaction.connection, scope, decision, after, limit)
            rows = [(*row, State.UNKNOWN, _STATES[decision]) for row in found]
            await transaction.apply(self._resolve, rows, {"decision": decision, "reason": reason})
            if decision is Decision.RESEND:
                # The counters first, whose update holds the batches' rows: a cancel comes before this, or finds the
                # numbers.
                await transaction.finish()
                await _refuse_cancelled(transaction.connection, {batch_id for batch_id, _row, _attempt in found})
        return [(batch_id, row) for batch_id, row, _attempt in found]

    async def decided(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the numbers that were decided about, and are not unclear again."""
        async with self._database.reading() as connection:
            found = await connection.execute(self._decided, {"rows": as_rows(keys, KEYS)})
            return {(str(batch_id), row) for batch_id, row in found}


def _unclear(query: Select[*tuple[Any, ...]], scope: Scope) -> Select[*tuple[Any, ...]]:
    # The batches' counters lead to the few batches that have any: no index finds them among all the rows.
    with_any = messages.c.batch_id.in_(select(batches.c.id).where(batches.c.n_unknown > 0))
    joined = messages.join(batches, batches.c.id == messages.c.batch_id)
    return query.select_from(joined).where(with_any, messages.c.state == State.UNKNOWN.value, *_in_scope(scope))


def _in_scope(scope: Scope) -> list[ColumnElement[bool]]:
    given = {
        messages.c.batch_id: scope.batch_id,
        messages.c.row_no: scope.row,
        messages.c.recipient: scope.recipient,
        messages.c.error_code: scope.code,
    }
    return [column == value for column, value in given.items() if value is not None]


async def _locked(
    connection: AsyncConnection, scope: Scope, decision: Decision, after: Key | None, limit: int
) -> list[tuple[str, int, int]]:
    """The next rows with their attempts, locked in the order in which everybody locks them."""
    query = _unclear(select(messages.c.batch_id, messages.c.row_no, messages.c.attempt), scope)
    if after is not None:
        query = query.where(after_key(after))
    if decision is Decision.RESEND:
        query = query.where(batches.c.state != BatchState.CANCELLED.value)
    query = query.order_by(messages.c.batch_id, messages.c.row_no).limit(limit).with_for_update(of=messages)
    return [(str(batch_id), row, attempt) for batch_id, row, attempt in await connection.execute(query)]


async def _refuse_cancelled(connection: AsyncConnection, batch_ids: set[str]) -> None:
    cancelled = select(batches.c.id).where(batches.c.id.in_(batch_ids), batches.c.state == BatchState.CANCELLED.value)
    if (batch_id := await connection.scalar(cancelled.limit(1))) is not None:
        raise BatchCancelled(f"batch {batch_id} has just been cancelled: nothing of it is sent again")


_RESOLVED = {
    "decision": "CAST(:decision AS text)",
    "error_reason": ":reason",
    "error_code": "CASE WHEN w.state = 'sent' THEN NULL ELSE messages.error_code END",
    "retry_at_ms": "NULL",
    "was_unclear": "true",
}
_DECIDED = """
    SELECT messages.batch_id, messages.row_no
    FROM {rows} JOIN messages ON messages.batch_id = w.batch_id AND messages.row_no = w.row_no
    WHERE messages.decision IS NOT NULL AND messages.state <> 'unknown'
"""
