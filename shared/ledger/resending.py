"""Sending numbers of a batch again in a batch of their own: one transaction takes them from the one to the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.domain.options import OPTIONS
from shared.domain.states import BatchState, State
from shared.errors import NothingToResend
from shared.ledger.bulk_params import KEYS, as_rows, with_rows
from shared.ledger.database import Database
from shared.ledger.intake import insert_new
from shared.ledger.tables import batches, counter, messages

_CHUNK_ROWS = 1000
_NAMED = 3
_INHERITED = (*(batches.c[name] for name in OPTIONS), batches.c.template_id, batches.c.content, batches.c.variables)


@dataclass(frozen=True, slots=True)
class Resend:
    """The numbers of `batch_id` in these (final) states, to be sent as batch `new_id`; `fingerprint` is a digest of the
    request's meaning, by which a repeated request is told from another one under the same id."""

    batch_id: str
    new_id: str
    fingerprint: str
    states: frozenset[State]
    send_at_ms: int | None = None
    expires_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Resent:
    """The batch that is there under the new id: made by this call, or by an earlier request with this fingerprint."""

    fingerprint: str
    recipients: int
    is_new: bool


class ResendLedger:
    """Makes batches of other batches' numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mark = with_rows(_MARK, KEYS, sqlite=database.is_sqlite)

    async def resend(self, wanted: Resend) -> Resent | None:
        """Make the batch, with all of its rows, and mark the old ones: all of it or, wherever it is cut off, nothing.

        A marked row is never claimed, moved or resent any more. So of several calls at once each number goes into one
        batch, and a second call under the same id changes nothing. None where the ledger has no such batch (yet);
        NothingToResend where no number is left to be sent again.
        """
        async with self._database.writing() as connection:
            old = (await connection.execute(_OLD.where(batches.c.id == wanted.batch_id))).one_or_none()
            if old is None:
                return None
            rows = await _locked(connection, wanted) if _may_be_sent_again(old) else []
            values = _batch_values(old, wanted, len(rows))
            if rows and await insert_new(connection, batches, values, sqlite=self._database.is_sqlite):
                await self._take_over(connection, wanted, rows)
                crash_at("api.resend_marked")
                return Resent(wanted.fingerprint, len(rows), is_new=True)
            made = await _made_before(connection, wanted.new_id)
            if made is None:
                raise NothingToResend(await _why(connection, old, wanted))
            return made

    async def _take_over(self, connection: AsyncConnection, wanted: Resend, rows: Sequence[int]) -> None:
        resent_at_ms = now_ms()
        for start in range(0, len(rows), _CHUNK_ROWS):
            # Only the locked ones: others may have come into these states meanwhile.
            keys = as_rows([(wanted.batch_id, row) for row in rows[start : start + _CHUNK_ROWS]], KEYS)
            await connection.execute(self._mark, {"rows": keys, "new_id": wanted.new_id, "now_ms": resent_at_ms})
        theirs = select(
            messages.c.resent_in,
            func.row_number().over(order_by=messages.c.row_no) - 1,
            messages.c.recipient,
            messages.c.text,
            messages.c.segments,
            messages.c.variables,
            literal(State.PENDING.value),
            literal(resent_at_ms, messages.c.updated_at_ms.type),
        ).where(messages.c.batch_id == wanted.batch_id, messages.c.resent_in == wanted.new_id)
        await connection.execute(insert(messages).from_select(_COPIED, theirs))


_OLD = select(
    *_INHERITED,
    batches.c.id,
    batches.c.state,
    batches.c.error_code,
    (batches.c.recipients - batches.c.rows_written).label("unwritten"),
)
_COPIED = ("batch_id", "row_no", "recipient", "text", "segments", "variables", "state", "updated_at_ms")
_MARK = """
    UPDATE messages SET resent_in = :new_id, updated_at_ms = :now_ms
    FROM {rows} WHERE messages.batch_id = w.batch_id AND messages.row_no = w.row_no
"""


def _may_be_sent_again(old: Row[*tuple[Any, ...]]) -> bool:
    """Not what was cancelled, nor what never had a text: that batch is begun anew when its own dead letter is moved
    back."""
    return old.content is not None and old.state != BatchState.CANCELLED


async def _locked(connection: AsyncConnection, wanted: Resend) -> list[int]:
    """The rows, locked in the order in which everybody locks them."""
    query = (
        select(messages.c.row_no)
        .where(messages.c.batch_id == wanted.batch_id, messages.c.state.in_(sorted(wanted.states)))
        .where(messages.c.resent_in.is_(None))
        .order_by(messages.c.row_no)
        .with_for_update()
    )
    return list((await connection.execute(query)).scalars())


def _batch_values(old: Row[*tuple[Any, ...]], wanted: Resend, recipients: int) -> dict[str, Any]:
    accepted_at_ms = now_ms()
    scheduled = wanted.send_at_ms is not None and wanted.send_at_ms > accepted_at_ms
    return {
        **{column.name: old._mapping[column] for column in _INHERITED},
        "id": wanted.new_id,
        "resend_of": wanted.batch_id,
        "fingerprint": wanted.fingerprint,
        "state": BatchState.SCHEDULED if scheduled else BatchState.RUNNING,
        "accepted_at_ms": accepted_at_ms,
        "send_at_ms": wanted.send_at_ms,
        "expires_at_ms": wanted.expires_at_ms,
        "recipients": recipients,
        "rows_written": recipients,
        "written_at_ms": accepted_at_ms,
        counter(State.PENDING): recipients,
    }


async def _made_before(connection: AsyncConnection, new_id: str) -> Resent | None:
    query = select(batches.c.fingerprint, batches.c.recipients).where(batches.c.id == new_id)
    found = (await connection.execute(query)).one_or_none()
    return found and Resent(found.fingerprint, found.recipients, is_new=False)


async def _why(connection: AsyncConnection, old: Row[*tuple[Any, ...]], wanted: Resend) -> str:
    if old.state == BatchState.CANCELLED:
        return "The batch was cancelled: nothing of it is sent again."
    if old.content is None:
        return "The batch could not be sent as a whole: its numbers never had a text. Its message is a dead letter."
    these = " or ".join(sorted(wanted.states))
    query = (
        select(messages.c.resent_in)
        .where(messages.c.batch_id == wanted.batch_id, messages.c.state.in_(sorted(wanted.states)))
        .where(messages.c.resent_in.is_not(None))
        .group_by(messages.c.resent_in)
        .order_by(func.max(messages.c.updated_at_ms).desc())
    )
    resent_in = [str(batch_id) for batch_id in (await connection.execute(query)).scalars()]
    if resent_in:
        more = ", …" if len(resent_in) > _NAMED else ""
        return f"Its {these} numbers are sent again already, in {', '.join(resent_in[:_NAMED])}{more}."
    if old.error_code is not None and old.unwritten:
        return f"{old.unwritten} of its numbers failed before they came into the ledger; no other is {these}."
    return f"None of its numbers is {these}."
