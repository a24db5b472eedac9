"""The api's side of the ledger: batches and numbers as they stand."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, or_, select

from shared.ledger.database import Database
from shared.ledger.tables import batches, counter, messages
from shared.states import State


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch as the ledger has it. The counts' sum is `recipients`."""

    batch_id: str
    fingerprint: str
    status: str
    lane: str
    provider: str
    reference: str | None
    template_id: int | None
    recipients: int
    counts: dict[str, int]
    accepted_at_ms: int
    send_at_ms: int | None
    expires_at_ms: int | None
    finished_at_ms: int | None
    error_code: str | None
    error_reason: str | None


@dataclass(frozen=True, slots=True)
class MessageView:
    """A number as the ledger has it, in full: whoever shows it masks it."""

    row: int
    recipient: str
    state: str
    attempts: int
    segments: int | None
    error_code: str | None
    error_reason: str | None
    provider_message_id: str | None
    updated_at_ms: int


_BATCH_COLUMNS = [
    batches.c[name]
    for name in (
        "id fingerprint state lane provider reference template_id recipients "
        "accepted_at_ms send_at_ms expires_at_ms finished_at_ms error_code error_reason"
    ).split()
] + [batches.c[counter(state)] for state in State]
_MESSAGE_COLUMNS = [
    messages.c[name]
    for name in (
        "row_no recipient state attempt segments error_code error_reason provider_message_id updated_at_ms"
    ).split()
]


class ReadingLedger:
    """Look-ups that change nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def batch(self, batch_id: str) -> BatchView | None:
        """The batch, or None where the ledger has none of that id (yet)."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(*_BATCH_COLUMNS).where(batches.c.id == batch_id))).first()
        return row and _batch_view(row)

    async def batches(self, limit: int, before: tuple[int, str] | None = None) -> list[BatchView]:
        """Batches, newest first; `before` is the (accepted_at_ms, batch_id) of the last one seen."""
        query = select(*_BATCH_COLUMNS).order_by(batches.c.accepted_at_ms.desc(), batches.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(_older(before))
        async with self._database.reading() as connection:
            return [_batch_view(row) for row in await connection.execute(query)]

    async def messages(
        self, batch_id: str, limit: int, state: State | None = None, after_row: int = -1
    ) -> list[MessageView]:
        """A batch's numbers in row order, from the row behind `after_row` on."""
        query = (
            select(*_MESSAGE_COLUMNS)
            .where(messages.c.batch_id == batch_id, messages.c.row_no > after_row)
            .order_by(messages.c.row_no)
            .limit(limit)
        )
        if state is not None:
            query = query.where(messages.c.state == state)
        async with self._database.reading() as connection:
            return [MessageView(*row) for row in await connection.execute(query)]


def _older(before: tuple[int, str]) -> ColumnElement[bool]:
    accepted_at_ms, batch_id = before
    return or_(
        batches.c.accepted_at_ms < accepted_at_ms,
        and_(batches.c.accepted_at_ms == accepted_at_ms, batches.c.id < batch_id),
    )


def _batch_view(row: Row[Any]) -> BatchView:
    batch_id, fingerprint, status, lane, provider, reference, template_id, recipients, *rest = row
    times_and_error, counts = rest[:6], rest[6:]
    return BatchView(
        str(batch_id), fingerprint, status, lane, provider, reference, template_id, recipients,
        {state.value: n for state, n in zip(State, counts, strict=True) if n},
        *times_and_error,
    )  # fmt: skip
