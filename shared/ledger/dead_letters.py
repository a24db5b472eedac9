"""The ledger's side of dead letters: how their numbers stand, and what was decided about them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, exists, func, select

from shared.domain.message import Key
from shared.domain.replay import BatchStatus, MessageStatus
from shared.domain.states import BatchState, State
from shared.ledger.bulk_params import KEYS, after_key, as_rows, with_rows
from shared.ledger.database import Database
from shared.ledger.tables import batches, discards, messages, provider_of_message
from shared.ledger.transitions import Transition, moving


@dataclass(frozen=True, slots=True)
class Discard:
    """A dead letter that was thrown away. `attempt` tells it from others of the same number."""

    queue: str
    message_id: str
    attempt: int
    failed_at: str | None
    discarded_at_ms: int
    error_code: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class FailedFilter:
    """Which failed numbers are meant: those that fit everything given."""

    batch_id: str | None = None
    code: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class FailedNumber:
    """A number that failed, and whose letter nobody threw away. `recipient` is in full: whoever shows it masks it."""

    batch_id: str
    row: int
    recipient: str
    error_code: str | None
    error_reason: str | None
    provider: str
    provider_status: int | None
    attempts: int
    first_at_ms: int | None
    failed_at_ms: int


@dataclass(frozen=True, slots=True)
class FailedGroup:
    """The failed numbers with one code from one provider."""

    error_code: str | None
    provider: str
    numbers: int
    batches: int
    oldest_at_ms: int
    newest_at_ms: int


class DeadLettersLedger:
    """Looks up the numbers and batches of dead letters, and writes what becomes of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._look = with_rows(_LOOK, KEYS, sqlite=database.is_sqlite)
        self._lock = with_rows(
            _LOCK + ("" if database.is_sqlite else " FOR UPDATE OF m"), KEYS, sqlite=database.is_sqlite
        )
        self._queue = Transition({}, {}, sqlite=database.is_sqlite)
        self._discard = with_rows(_DISCARD, _DISCARDS, sqlite=database.is_sqlite)

    async def statuses(self, keys: Iterable[Key]) -> dict[Key, MessageStatus]:
        """How these numbers stand; those that the ledger does not have are left out."""
        async with self._database.reading() as connection:
            found = await connection.execute(self._look, {"rows": as_rows(sorted(set(keys)), KEYS)})
            return {
                (str(batch_id), row): MessageStatus(
                    State(state), attempt, BatchState(batch_state), resent_in is not None
                )
                for batch_id, row, state, attempt, batch_state, resent_in in found
            }

    async def batch_status(self, batch_id: str) -> BatchStatus | None:
        """How a batch stands; None where the ledger does not have it."""
        query = select(batches.c.state, batches.c.error_code).where(batches.c.id == batch_id)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).first()
        return None if found is None else BatchStatus(BatchState(found.state), found.error_code)

    async def places_of(self, recipient: str) -> frozenset[Key]:
        """Where a number (E.164) has failed."""
        # The batches' counters lead to the few batches that have any: no index finds them among all the rows.
        with_any = messages.c.batch_id.in_(select(batches.c.id).where(batches.c.n_failed > 0))
        query = select(messages.c.batch_id, messages.c.row_no).where(
            with_any, messages.c.state == State.FAILED.value, messages.c.recipient == recipient
        )
        async with self._database.reading() as connection:
            return frozenset((str(batch_id), row) for batch_id, row in await connection.execute(query))

    async def failed(self, which: FailedFilter, limit: int, after: Key | None) -> list[FailedNumber]:
        """The next failed numbers behind `after`, by batch and row."""
        query = _failed(
            select(
                messages.c.batch_id,
                messages.c.row_no,
                messages.c.recipient,
                messages.c.error_code,
                messages.c.error_reason,
                provider_of_message,
                messages.c.provider_status,
                messages.c.attempt,
                messages.c.first_at_ms,
                messages.c.updated_at_ms,
            ),
            which,
        )
        if after is not None:
            query = query.where(after_key(after))
        query = query.order_by(messages.c.batch_id, messages.c.row_no).limit(limit)
        async with self._database.reading() as connection:
            return [FailedNumber(str(batch_id), *rest) for batch_id, *rest in await connection.execute(query)]

    async def failed_groups(self, which: FailedFilter) -> list[FailedGroup]:
        """The failed numbers counted by code and provider, the most frequent first."""
        by = messages.c.error_code, provider_of_message
        counted = func.count()
        columns = counted, func.count(messages.c.batch_id.distinct()), *_ages()
        query = _failed(select(*by, *columns), which).group_by(*by).order_by(counted.desc(), *by)
        async with self._database.reading() as connection:
            return [FailedGroup(*group) for group in await connection.execute(query)]

    async def sent_again(self, attempts: Sequence[tuple[Key, int]], now_ms: int) -> None:
        """Note that the messages of these numbers are on the outbound queue, where no sender was quicker."""
        keys = sorted(key for key, _attempt in attempts)
        async with moving(self._database, now_ms) as transaction:
            # In id order, as everywhere: the senders are at these very rows.
            await transaction.connection.execute(self._lock, {"rows": as_rows(keys, KEYS)})
            rows = [(*key, attempt, State.FAILED, State.QUEUED) for key, attempt in attempts]
            await transaction.apply(self._queue, rows)

    async def discarded(self, discarded: Sequence[Discard]) -> None:
        """Write down letters that are about to be thrown away; one that is there already stays as it is."""
        values = [
            (item.queue, item.message_id, item.attempt, item.failed_at, item.discarded_at_ms, item.error_code,
             item.reason)
            for item in discarded
        ]  # fmt: skip
        async with self._database.writing() as connection:
            await connection.execute(self._discard, {"rows": as_rows(values, _DISCARDS)})

    async def discards_of(self, message_id: str) -> list[Discard]:
        """The letters of a number, or of a batch, that were thrown away, in their order."""
        query = select(discards).where(discards.c.message_id == message_id).order_by(discards.c.discarded_at_ms)
        async with self._database.reading() as connection:
            return [Discard(**found._mapping) for found in await connection.execute(query)]


def _ages() -> tuple[ColumnElement[int], ColumnElement[int]]:
    return func.min(messages.c.updated_at_ms), func.max(messages.c.updated_at_ms)


def _failed(query: Select[Any], which: FailedFilter) -> Select[Any]:
    # The batches' counters lead to the few batches that have any: no index finds them among all the rows.
    with_any = messages.c.batch_id.in_(select(batches.c.id).where(batches.c.n_failed > 0))
    message_id = cast(messages.c.batch_id, Text) + ":" + cast(messages.c.row_no, Text)
    thrown_away = exists().where(discards.c.message_id == message_id, discards.c.attempt == messages.c.attempt)
    given = {
        messages.c.batch_id: which.batch_id,
        messages.c.error_code: which.code,
        provider_of_message: which.provider,
    }
    return query.select_from(messages.join(batches, batches.c.id == messages.c.batch_id)).where(
        with_any,
        messages.c.state == State.FAILED.value,
        messages.c.resent_in.is_(None),
        ~thrown_away,
        *(column == value for column, value in given.items() if value is not None),
    )


_DISCARDS = {
    "queue": "text",
    "message_id": "text",
    "attempt": "integer",
    "failed_at": "text",
    "discarded_at_ms": "bigint",
    "error_code": "text",
    "reason": "text",
}
_LOOK = """
    SELECT m.batch_id, m.row_no, m.state, m.attempt, b.state, m.resent_in
    FROM {rows} JOIN messages m ON m.batch_id = w.batch_id AND m.row_no = w.row_no JOIN batches b ON b.id = m.batch_id
"""
_LOCK = """
    SELECT 1 FROM {rows} JOIN messages m ON m.batch_id = w.batch_id AND m.row_no = w.row_no
    ORDER BY m.batch_id, m.row_no
"""
_DISCARD = """
    INSERT INTO discards (queue, message_id, attempt, failed_at, discarded_at_ms, error_code, reason)
    SELECT w.queue, w.message_id, w.attempt, w.failed_at, w.discarded_at_ms, w.error_code, w.reason
    FROM {rows} WHERE true
    ON CONFLICT (queue, message_id, attempt) DO NOTHING
"""
