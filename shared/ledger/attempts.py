"""The history of a number: which sender tried it when, at which provider, and what came of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.message import Key
from shared.domain.states import State
from shared.ledger.bulk_params import KEYS, as_rows, with_rows
from shared.ledger.database import Database
from shared.ledger.tables import attempts, batches, messages, provider_of_message


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `state` is the number's after it, `sending` while it is under way."""

    attempt: int
    begun_at_ms: int | None
    ended_at_ms: int | None
    provider: str
    sender: str | None
    state: State
    error_code: str | None
    error_reason: str | None
    provider_status: int | None


async def keep_attempts(connection: AsyncConnection, keys: Iterable[Key], now_ms: int, *, sqlite: bool) -> None:
    """Copy the latest attempt of these rows as it now stands; one that was kept before is written over.

    Those that did not succeed: what went well is not kept a second time, the number's own row tells of its last
    attempt.
    """
    if rows := sorted(keys):
        await connection.execute(_KEEP[sqlite], {"rows": as_rows(rows, KEYS), "now_ms": now_ms})


class AttemptsLedger:
    """Looks up the attempts of a number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, batch_id: str, row: int) -> list[Attempt] | None:
        """The attempts of a number in their order; None where the ledger has no such number."""
        async with self._database.reading() as connection:
            latest = (await connection.execute(_latest(batch_id, row))).first()
            if latest is None:
                return None
            kept = [_attempt(record) for record in await connection.execute(_kept(batch_id, row))]
        own = _attempt(latest)
        if own.begun_at_ms is None or any(attempt.attempt == own.attempt for attempt in kept):
            return kept
        return [*kept, own]


def _kept(batch_id: str, row: int) -> Select[Any]:
    columns = [
        attempts.c.attempt,
        attempts.c.begun_at_ms,
        attempts.c.ended_at_ms,
        attempts.c.provider,
        attempts.c.sender,
        attempts.c.state,
        attempts.c.error_code,
        attempts.c.error_reason,
        attempts.c.provider_status,
    ]
    this = (attempts.c.batch_id == batch_id, attempts.c.row_no == row)
    return select(*columns).where(*this).order_by(attempts.c.attempt)


def _latest(batch_id: str, row: int) -> Select[Any]:
    columns = [
        messages.c.attempt,
        messages.c.claimed_at_ms,
        messages.c.updated_at_ms,
        provider_of_message,
        messages.c.claimed_by,
        messages.c.state,
        messages.c.error_code,
        messages.c.error_reason,
        messages.c.provider_status,
    ]
    joined = messages.join(batches, batches.c.id == messages.c.batch_id)
    this = (messages.c.batch_id == batch_id, messages.c.row_no == row)
    return select(*columns).select_from(joined).where(*this)


def _attempt(record: Any) -> Attempt:
    attempt, begun_at_ms, ended_at_ms, provider, claimed_by, state, code, reason, status = record
    # A claim's token is the sender's name and a number.
    sender = claimed_by and claimed_by.partition("#")[0]
    ended = None if state == State.SENDING else ended_at_ms
    return Attempt(attempt, begun_at_ms, ended, provider, sender, State(state), code, reason, status)


_KEPT = """
    INSERT INTO attempts (batch_id, row_no, attempt, begun_at_ms, ended_at_ms, provider, sender, state, error_code,
                          error_reason, provider_status)
    SELECT m.batch_id, m.row_no, m.attempt, m.claimed_at_ms, :now_ms, COALESCE(m.provider, b.provider), m.claimed_by,
           m.state, m.error_code, m.error_reason, m.provider_status
    FROM {rows} JOIN messages m ON m.batch_id = w.batch_id AND m.row_no = w.row_no JOIN batches b ON b.id = m.batch_id
    WHERE true
    ON CONFLICT (batch_id, row_no, attempt) DO UPDATE SET ended_at_ms = excluded.ended_at_ms, state = excluded.state,
        error_code = excluded.error_code, error_reason = excluded.error_reason,
        provider_status = excluded.provider_status
"""
_KEEP = {sqlite: with_rows(_KEPT, KEYS, sqlite=sqlite) for sqlite in (False, True)}
