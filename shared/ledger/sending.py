"""The sender's side of the ledger: claiming rows and recording what came of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.message import Key, MessageRow, is_claimable
from shared.domain.outcome import Outcome, keep_if_maybe_sent
from shared.domain.states import BatchState, State
from shared.ledger.attempts import AttemptWriter
from shared.ledger.bulk_params import KEYS, as_rows, single_statement, with_rows
from shared.ledger.counters import Changes, count, moved
from shared.ledger.database import Database
from shared.ledger.sending_sql import (
    CLAIM,
    CLAIM_AT_ONCE,
    LOOK,
    LOOK_AND_LOCK,
    MOVE,
    RECORD,
    SENT_AT_ONCE,
)

# A look-up is cheaper than an enumeration's call.
_STATES = {state.value: state for state in State}
_BATCH_STATES = {state.value: state for state in BatchState}

_ATTEMPTS = {**KEYS, "attempt": "integer"}
_OUTCOMES = {
    **KEYS,
    "attempt": "integer",
    "state": "text",
    "error_code": "text",
    "error_reason": "text",
    "provider_status": "smallint",
    "provider_message_id": "text",
    "retry_at_ms": "bigint",
    "was_unclear": "boolean",
    "uncounted": "integer",
}
_SENT = {**KEYS, "attempt": "integer", "provider_status": "smallint", "provider_message_id": "text"}

_MOVES = {
    **KEYS,
    "attempt": "integer",
    "from_state": "text",
    "state": "text",
    "error_code": "text",
    "error_reason": "text",
    "retry_at_ms": "bigint",
    "was_unclear": "boolean",
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a claim came to: the rows that are ours to send (this attempt counted), and the others as they are."""

    ours: Mapping[Key, MessageRow]
    others: Mapping[Key, MessageRow]


class Recorded(NamedTuple):
    """One attempt's outcome, to be written."""

    batch_id: str
    row: int
    attempt: int
    outcome: Outcome


class SendingLedger:
    """Claims and records, each one short transaction for a micro-batch, or one statement of PostgreSQL.

    There, a record of numbers of which some did not go well is two.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        sqlite = database.is_sqlite
        self._look = with_rows(LOOK if sqlite else LOOK_AND_LOCK, KEYS, sqlite=sqlite)
        self._claim = with_rows(CLAIM, KEYS, sqlite=sqlite)
        self._claim_at_once = single_statement(CLAIM_AT_ONCE, "rows", "token", "now_ms", columns=_ATTEMPTS)
        self._sent_at_once = single_statement(SENT_AT_ONCE, "rows", "now_ms", columns=_SENT)
        self._record = with_rows(RECORD, _OUTCOMES, sqlite=sqlite)
        self._move = with_rows(MOVE, _MOVES, sqlite=sqlite)
        self._attempts = AttemptWriter(sqlite=sqlite)

    async def claim(self, attempts: Mapping[Key, int], token: str, now_ms: int) -> Claims:
        """Claim each row whose `attempt` still is the one given, and which can be sent.

        The attempt is a fencing token: of two copies of one message only the first finds it unchanged. A row that does
        not exist is in neither of the result's parts. `token` is of this claim alone: calling again with it, after a
        commit whose answer was lost, gives the same rows.
        """
        claim = self._claim_in_steps if self._database.is_sqlite else self._claim_in_one
        rows, free = await claim(attempts, token, now_ms)
        ours = {row.key: row.claimed(token, now_ms) for row in free}
        ours |= {row.key: row for row in rows if row.claimed_by == token and row.state is State.SENDING}
        return Claims(ours, {row.key: row for row in rows if row.key not in ours})

    async def _claim_in_steps(
        self, attempts: Mapping[Key, int], token: str, now_ms: int
    ) -> tuple[Sequence[MessageRow], Sequence[MessageRow]]:
        """The rows as they were, and those of them that are claimed now."""
        async with self._database.writing() as connection:
            found = await connection.execute(self._look, {"rows": as_rows(sorted(attempts), KEYS)})
            rows = [_row(record) for record in found]
            free = [row for row in rows if is_claimable(row, attempts[row.key])]
            if free:
                values = {"rows": as_rows([row.key for row in free], KEYS), "token": token, "now_ms": now_ms}
                await connection.execute(self._claim, values)
                changes = moved((row.batch_id, row.state, State.SENDING) for row in free)
                await count(connection, changes, now_ms)
        return rows, free

    async def _claim_in_one(
        self, attempts: Mapping[Key, int], token: str, now_ms: int
    ) -> tuple[Sequence[MessageRow], Sequence[MessageRow]]:
        """The same in one statement of PostgreSQL."""
        wanted = as_rows([(*key, attempts[key]) for key in sorted(attempts)], _ATTEMPTS)
        found = await self._database.run(self._claim_at_once, wanted, token, now_ms)
        rows = [(_row(values), is_free) for *values, is_free in found]
        return [row for row, _is_free in rows], [row for row, is_free in rows if is_free]

    async def record(self, outcomes: Sequence[Recorded], now_ms: int) -> None:
        """Write what came of the attempts. An outcome whose attempt is not the row's latest changes nothing."""
        if not self._database.is_sqlite:
            outcomes = await self._record_sent(outcomes, now_ms)
            if not outcomes:
                return
        records = sorted((_record_values(item) for item in outcomes), key=lambda values: values[:2])
        changes: Changes = Counter()
        failed: set[Key] = set()
        async with self._database.writing() as connection:
            # The second pass is for rows whose lease ran out meanwhile, so that somebody held them as unclear.
            for before in (State.SENDING, State.UNKNOWN):
                values = {"rows": as_rows(records, _OUTCOMES), "before": before, "now_ms": now_ms}
                written = {
                    (batch_id, row): _STATES[state]
                    for batch_id, row, state in await connection.execute(self._record, values)
                }
                changes.update(moved((batch_id, before, state) for (batch_id, _row), state in written.items()))
                # One that was held as unclear was kept, and has to be kept as what it turned out to be.
                failed |= {key for key, state in written.items() if state is not State.SENT or before is State.UNKNOWN}
                records = [values for values in records if (values[0], values[1]) not in written]
                if not records:
                    break
            await self._attempts.keep(connection, failed, now_ms)
            await count(connection, changes, now_ms)

    async def _record_sent(self, outcomes: Sequence[Recorded], now_ms: int) -> Sequence[Recorded]:
        """Write those that went well in one statement of PostgreSQL; what is left to write."""
        sent = [_sent_values(item) for item in outcomes if item.outcome.state is State.SENT]
        if not sent:
            return outcomes
        found = await self._database.run(self._sent_at_once, as_rows(sent, _SENT), now_ms)
        written = {(batch_id, row) for batch_id, row in found}
        return [item for item in outcomes if (item.batch_id, item.row) not in written]

    async def move(self, rows: Sequence[tuple[MessageRow, Outcome]], now_ms: int) -> set[Key]:
        """Put rows into another state, each only if it still stands as it was read; the keys of those that did."""
        async with self._database.writing() as connection:
            return await self._moved(connection, rows, now_ms)

    async def record_without_call(self, attempts: Mapping[Key, int], outcome: Outcome, now_ms: int) -> Claims:
        """Give the rows that these messages could send this outcome, without a call; `ours` are those as they then are.

        No attempt is counted.
        """
        async with self._database.writing() as connection:
            found = await connection.execute(self._look, {"rows": as_rows(sorted(attempts), KEYS)})
            rows = {row.key: row for row in map(_row, found)}
            free = [
                (row, keep_if_maybe_sent(outcome, was_unclear=row.was_unclear))
                for row in rows.values()
                if is_claimable(row, attempts[row.key])
            ]
            await self._moved(connection, free, now_ms)
        ours = {row.key: row.after(outcome) for row, outcome in free}
        return Claims(ours, {key: row for key, row in rows.items() if key not in ours})

    async def _moved(
        self, connection: AsyncConnection, rows: Sequence[tuple[MessageRow, Outcome]], now_ms: int
    ) -> set[Key]:
        values = [
            (row.batch_id, row.row, row.attempt, row.state, outcome.state, outcome.code, outcome.reason,
             outcome.retry_at_ms, outcome.unclear)
            for row, outcome in sorted(rows, key=lambda item: item[0].key)
        ]  # fmt: skip
        moves = {row.key: (row.state, outcome.state) for row, outcome in rows}
        found = await connection.execute(self._move, {"rows": as_rows(values, _MOVES), "now_ms": now_ms})
        keys = {(str(batch_id), row) for batch_id, row in found}
        # The others move without an attempt.
        await self._attempts.keep(connection, {key for key in keys if moves[key][0] is State.SENDING}, now_ms)
        await count(connection, moved((key[0], *moves[key]) for key in keys), now_ms)
        return keys


def _row(record: Any) -> MessageRow:
    *fields, was_unclear, batch_state, provider, on_unknown, expires_at_ms, is_resent, uncounted = record
    batch_id, row, state, *others = fields
    return MessageRow._make((
        batch_id, row, _STATES[state], *others,
        bool(was_unclear), _BATCH_STATES[batch_state], provider, on_unknown == "resend", expires_at_ms, bool(is_resent),
        uncounted,
    ))  # fmt: skip


def _sent_values(item: Recorded) -> tuple[Any, ...]:
    outcome = item.outcome
    return item.batch_id, item.row, item.attempt, outcome.provider_status, outcome.provider_message_id


def _record_values(item: Recorded) -> tuple[Any, ...]:
    outcome = item.outcome
    return (
        item.batch_id, item.row, item.attempt, outcome.state, outcome.code, outcome.reason,
        outcome.provider_status, outcome.provider_message_id, outcome.retry_at_ms, outcome.unclear,
        int(outcome.uncounted),
    )  # fmt: skip
