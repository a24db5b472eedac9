"""The api's side of the ledger: batches and numbers as they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, or_, select, text, tuple_

from shared.domain.options import OPTIONS, BatchOptions
from shared.domain.states import State
from shared.ledger.database import Database
from shared.ledger.tables import batches, counter, messages, provider_of_message


class BatchView(BatchOptions):
    """A batch as the ledger has it. The counts' sum is `recipients`."""

    batch_id: str
    fingerprint: str
    status: str
    template_id: int | None
    recipients: int
    counts: dict[str, int]
    accepted_at_ms: int
    send_at_ms: int | None
    expires_at_ms: int | None
    finished_at_ms: int | None
    error_code: str | None
    error_reason: str | None
    resend_of: str | None = None
    """The batch whose numbers these are."""
    paused_by: str | None = None
    """operator or fuse."""
    paused_reason: str | None = None


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
    resent_in: str | None
    """The batch in which it is sent again."""
    provider: str
    """At which it was tried last, or else the batch's."""
    receipt_at_ms: int | None
    """When it was delivered or not, as its receipt has it."""


_BATCH_COLUMNS = [
    batches.c.id.label("batch_id"),
    batches.c.fingerprint,
    batches.c.state.label("status"),
    *(batches.c[name] for name in OPTIONS),
    batches.c.template_id,
    batches.c.recipients,
    batches.c.accepted_at_ms,
    batches.c.send_at_ms,
    batches.c.expires_at_ms,
    batches.c.finished_at_ms,
    batches.c.error_code,
    batches.c.error_reason,
    batches.c.resend_of,
    batches.c.paused_by,
    batches.c.paused_reason,
    *(batches.c[counter(state)] for state in State),
]
_MESSAGE_COLUMNS = [
    messages.c.row_no,
    messages.c.recipient,
    messages.c.state,
    messages.c.attempt,
    messages.c.segments,
    messages.c.error_code,
    messages.c.error_reason,
    messages.c.provider_message_id,
    messages.c.updated_at_ms,
    messages.c.resent_in,
    provider_of_message,
    messages.c.receipt_at_ms,
]
_NEWEST_FIRST = select(*_BATCH_COLUMNS).order_by(batches.c.accepted_at_ms.desc(), batches.c.id.desc())


class ReadingLedger:
    """Look-ups that change nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def batch(self, batch_id: str) -> BatchView | None:
        """The batch, or None where the ledger has none of that id (yet)."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(*_BATCH_COLUMNS).where(batches.c.id == batch_id))).first()
        return None if row is None else _batch_view(row)

    async def batches(
        self, limit: int, before: tuple[int, str] | None = None, tag: str | None = None
    ) -> list[BatchView]:
        """Batches, newest first; `before` is the (accepted_at_ms, batch_id) of the last one seen."""
        if tag is not None:
            return await self._tagged(tag, limit, before)
        query = _NEWEST_FIRST.limit(limit)
        return await self._views(query if before is None else query.where(_older(before)))

    async def _tagged(self, tag: str, limit: int, before: tuple[int, str] | None) -> list[BatchView]:
        """Of the batches with a tag: found by the tags' index first, and sorted then. Walked from the newest on, all
        batches would be read for a tag that few have."""
        has_tag = text(_TAGGED_SQLITE if self._database.is_sqlite else _TAGGED).bindparams(tag=tag)
        tagged = select(*_BATCH_COLUMNS).where(has_tag).cte("tagged").prefix_with("MATERIALIZED", dialect="postgresql")
        query = select(tagged).order_by(tagged.c.accepted_at_ms.desc(), tagged.c.batch_id.desc()).limit(limit)
        if before is not None:
            query = query.where(tuple_(tagged.c.accepted_at_ms, tagged.c.batch_id) < before)
        async with self._database.reading() as connection:
            if not self._database.is_sqlite:
                # No other way leads through an inverted index; for the ledger's other statements it is off.
                await connection.execute(text("SET LOCAL enable_bitmapscan = on"))
            return [_batch_view(row) for row in await connection.execute(query)]

    async def running(self, limit: int) -> list[BatchView]:
        """Batches that are being sent, newest first."""
        # Written out, not a parameter: only so a plan that holds for every parameter uses the index of such batches.
        # Only by what that index has, too, or the one of all batches would do as well.
        running = select(*_BATCH_COLUMNS).where(text("state = 'running'"))
        return await self._views(running.order_by(batches.c.accepted_at_ms.desc()).limit(limit))

    async def these(self, batch_ids: Sequence[str]) -> list[BatchView]:
        """The batches of those ids, as far as the ledger has them."""
        return await self._views(_NEWEST_FIRST.where(batches.c.id.in_(batch_ids)))

    async def messages(
        self, batch_id: str, limit: int, state: State | None = None, after_row: int = -1
    ) -> list[MessageView]:
        """A batch's numbers in row order, from the row behind `after_row` on."""
        query = (
            select(*_MESSAGE_COLUMNS)
            .join(batches, batches.c.id == messages.c.batch_id)
            .where(messages.c.batch_id == batch_id, messages.c.row_no > after_row)
            .order_by(messages.c.row_no)
            .limit(limit)
        )
        if state is not None:
            query = query.where(messages.c.state == state)
        async with self._database.reading() as connection:
            return [MessageView(*row) for row in await connection.execute(query)]

    async def _views(self, query: Select[Any]) -> list[BatchView]:
        async with self._database.reading() as connection:
            return [_batch_view(row) for row in await connection.execute(query)]


_TAGGED = "batches.tags @> jsonb_build_array(CAST(:tag AS text)) AND batches.tags <> '[]'"
_TAGGED_SQLITE = "EXISTS (SELECT 1 FROM json_each(batches.tags) AS tag WHERE tag.value = :tag)"


def _older(before: tuple[int, str]) -> ColumnElement[bool]:
    accepted_at_ms, batch_id = before
    return or_(
        batches.c.accepted_at_ms < accepted_at_ms,
        and_(batches.c.accepted_at_ms == accepted_at_ms, batches.c.id < batch_id),
    )


def _batch_view(row: Row[Any]) -> BatchView:
    values: dict[str, Any] = dict(row._mapping)
    counts = {state.value: values.pop(counter(state)) for state in State}
    values["batch_id"] = str(values["batch_id"])
    values["counts"] = {state: number for state, number in counts.items() if number}
    # Not looked at again: whatever is in the ledger is to be shown.
    return BatchView.model_construct(**values)
