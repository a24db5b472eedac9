"""Receipts in the ledger: which rows they are about, and what they change."""

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.message import Key
from shared.domain.receipts import (
    Receipt,
    ReceiptStatus,
    Reference,
    SentRow,
    Step,
    attempt_of,
    decide,
    digest_of,
    is_of_another,
    of_the_whole,
    spellings,
    state_after,
)
from shared.domain.states import State
from shared.ledger.bulk_params import KEYS, as_rows, with_rows
from shared.ledger.database import Database
from shared.ledger.suppressions import Source, Suppression, add_suppressions
from shared.ledger.tables import receipts as kept_receipts
from shared.ledger.transitions import Moving, Transition, moving


class Fate(Enum):
    """What became of a receipt."""

    SETTLED = auto()  # its number is in another state by it
    KEPT = auto()  # it changed nothing, and is in the number's history
    PASSED = auto()  # it said nothing new
    EARLY = auto()  # the number's attempt is not recorded yet
    UNMATCHED = auto()  # no number of the ledger is meant


class KeptReceipt(NamedTuple):
    """A receipt of a number's history."""

    message_id: str
    status: ReceiptStatus
    provider: str
    error_code: str | None
    error_reason: str | None
    at_ms: int | None
    received_at_ms: int


class ProviderId(NamedTuple):
    """Whose text an id of a provider is."""

    message_id: str
    batch_id: str
    row: int
    attempt: int


@dataclass
class _Work:
    """What one transaction is about to do."""

    moves: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    keeps: list[tuple[Any, ...]] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)


_SETS = {
    "error_code": "w.error_code",
    "error_reason": "w.error_reason",
    "retry_at_ms": "NULL",
    "receipt_at_ms": "w.receipt_at_ms",
    "provider_message_id": "COALESCE(messages.provider_message_id, w.message_id)",
}
_VALUES = {"error_code": "text", "error_reason": "text", "receipt_at_ms": "bigint", "message_id": "text"}
_CALLS = {"batch_id": "uuid", "first_row": "integer", "last_row": "integer"}
_IDS = {"provider": "text", "message_id": "text"}
_NEW_IDS = {**_IDS, **KEYS, "attempt": "integer"}
_KEPT = {
    **KEYS, "message_id": "text", "status": "text", "provider": "text", "error_code": "text", "error_reason": "text",
    "at_ms": "bigint", "received_at_ms": "bigint", "attempt": "integer",
}  # fmt: skip


_Parts = dict[tuple[str, int, int], dict[str, ReceiptStatus]]
"""By batch, row and attempt what was told of the parts, by their ids."""


class ReceiptsLedger:
    """Settles numbers by receipts, many in a transaction, and answers who asks for a number's."""

    def __init__(self, database: Database, opt_outs: Callable[[Receipt], str | None] = lambda _receipt: None) -> None:
        """`opt_outs` is the sender name from which a receipt says that its recipient has opted out; None for any other
        receipt."""
        self._database, self._opt_outs = database, opt_outs
        sqlite = database.is_sqlite
        # What was held as unclear was kept, and has to be kept as what it turned out to be.
        self._settle = Transition(_VALUES, _SETS, sqlite=sqlite, keeps=(State.UNKNOWN,))
        self._find = with_rows(_FIND, _CALLS, sqlite=sqlite)
        self._find_ids = with_rows(_FIND_IDS, _IDS, sqlite=sqlite)
        self._find_parts = with_rows(_FIND_PARTS, KEYS, sqlite=sqlite)
        self._keep = with_rows(_KEEP, _KEPT, sqlite=sqlite)
        self._note = with_rows(_NOTE, _NEW_IDS, sqlite=sqlite)

    async def settle(self, received: Sequence[Receipt], now_ms: int) -> Sequence[Fate]:
        """Do what the receipts say, in one transaction; the fate of each.

        Rows are not locked to be read: each is moved only if it still stands as it was read, and a receipt whose row
        does not is early.
        """
        async with moving(self._database, now_ms) as transaction:
            named = await self._with_references(transaction.connection, received)
            rows = await self._rows(transaction.connection, [each for each in named if each is not None])
            about = _rows_meant(received, named, rows)
            parts = await self._parts(transaction.connection, received, about)
            work = _decided(received, about, parts, now_ms)
            moved = await transaction.apply(self._settle, work.moves.values())
            await self._write_history(transaction, work.keeps)
            fates = [
                Fate.EARLY if fate is Fate.SETTLED and row is not None and row.key not in moved else fate
                for fate, row in zip(work.fates, about, strict=True)
            ]
            settled = [
                (receipt, row)
                for receipt, row, fate in zip(received, about, fates, strict=True)
                if fate is Fate.SETTLED and row is not None
            ]
            opted_out = self._opted_out(settled, now_ms)
            await add_suppressions(transaction.connection, opted_out, sqlite=self._database.is_sqlite)
        return fates

    def _opted_out(self, settled: Sequence[tuple[Receipt, SentRow]], now_ms: int) -> Sequence[Suppression]:
        named = [(row, self._opt_outs(receipt)) for receipt, row in settled]
        return [
            Suppression(row.recipient, name, Source.PROVIDER, "by a receipt", now_ms)
            for row, name in named
            if name is not None
        ]

    async def note_ids(self, provider: str, ids: Sequence[ProviderId]) -> None:
        """Remember whose texts these ids of a provider are; the latest word on an id holds."""
        if not ids:
            return
        by_id = {spellings(each.message_id)[0]: each for each in ids}
        rows = sorted((provider, spelling, *each[1:]) for spelling, each in by_id.items())
        async with self._database.writing() as connection:
            await connection.execute(self._note, {"rows": as_rows(rows, _NEW_IDS)})

    async def of(self, batch_id: str, row: int) -> Sequence[KeptReceipt]:
        """The receipts of a number's history, as they came."""
        columns = [kept_receipts.c[name] for name in KeptReceipt._fields]
        query = select(*columns).where(kept_receipts.c.batch_id == batch_id, kept_receipts.c.row_no == row)
        async with self._database.reading() as connection:
            found = await connection.execute(query.order_by(kept_receipts.c.received_at_ms))
            return [KeptReceipt(*record)._replace(status=ReceiptStatus(record.status)) for record in found]

    async def _with_references(
        self, connection: AsyncConnection, received: Sequence[Receipt]
    ) -> Sequence[Reference | None]:
        """Each receipt's reference, that of its id where it has none of its own."""
        wanted = {
            (receipt.provider, spelling)
            for receipt in received
            if receipt.reference is None and receipt.message_id is not None
            for spelling in spellings(receipt.message_id)
        }
        if not wanted:
            return [receipt.reference for receipt in received]
        found = await connection.execute(self._find_ids, {"rows": as_rows(sorted(wanted), _IDS)})
        known = {
            (provider, message_id): Reference(str(batch_id), row, row, attempt)
            for provider, message_id, batch_id, row, attempt in found
        }
        return [receipt.reference or _by_id(receipt, known) for receipt in received]

    async def _rows(self, connection: AsyncConnection, references: Iterable[Reference]) -> Mapping[Key, SentRow]:
        calls = sorted({(each.batch_id, each.first, each.last) for each in references})
        if not calls:
            return {}
        found = await connection.execute(self._find, {"rows": as_rows(calls, _CALLS)})
        rows = map(_sent_row, found)
        return {row.key: row for row in rows}

    async def _parts(
        self, connection: AsyncConnection, received: Sequence[Receipt], about: Sequence[SentRow | None]
    ) -> _Parts:
        """What was told before of each text that has several parts, by its attempt and the parts' ids.

        Their rows are locked, by key: of two who are told a part each at the same time, the second counts both.
        """
        found = zip(received, about, strict=True)
        keys = sorted({row.key for receipt, row in found if row is not None and _in_parts(receipt, row)})
        parts: _Parts = defaultdict(dict)
        if keys:
            rows = {"rows": as_rows(keys, KEYS)}
            if not self._database.is_sqlite:
                await connection.execute(_LOCK, rows)
            for batch_id, row, attempt, message_id, status in await connection.execute(self._find_parts, rows):
                parts[str(batch_id), row, attempt].setdefault(message_id, ReceiptStatus(status))
        return parts

    async def _write_history(self, transaction: Moving, keeps: Sequence[tuple[Any, ...]]) -> None:
        if keeps:
            in_order = sorted(keeps, key=operator.itemgetter(0, 1, 2, 3))
            await transaction.connection.execute(self._keep, {"rows": as_rows(in_order, _KEPT)})


def _sent_row(record: Any) -> SentRow:
    batch_id, row, attempt, state, recipient, message_id, segments, is_resent, provider = record
    return SentRow(
        str(batch_id), row, attempt, State(state), recipient, message_id, segments or 1, bool(is_resent), provider
    )


def _by_id(receipt: Receipt, known: Mapping[tuple[str, str], Reference]) -> Reference | None:
    if receipt.message_id is None:
        return None
    return next(filter(None, (known.get((receipt.provider, each)) for each in spellings(receipt.message_id))), None)


def _rows_meant(
    received: Sequence[Receipt], named: Sequence[Reference | None], rows: Mapping[Key, SentRow]
) -> Sequence[SentRow | None]:
    """The row that each receipt is about."""
    # A batch has a number once, but for rows that were never sent: those are not what a call had.
    by_digest = {(row.batch_id, digest_of(*row.place)): row for row in rows.values() if row.attempt > 0}

    def meant(receipt: Receipt, reference: Reference | None) -> SentRow | None:
        if reference is None:
            return None
        if reference.names_one and receipt.recipient is None:
            return rows.get((reference.batch_id, reference.first))
        row = by_digest.get((reference.batch_id, receipt.recipient or ""))
        return row if row is not None and reference.first <= row.row <= reference.last else None

    return [meant(receipt, reference) for receipt, reference in zip(received, named, strict=True)]


def _in_parts(receipt: Receipt, row: SentRow) -> bool:
    return receipt.is_of_a_part and row.segments > 1


def _decided(
    received: Sequence[Receipt],
    about: Sequence[SentRow | None],
    parts: _Parts,
    now_ms: int,
) -> _Work:
    """What all of them come to, each as the ones before it leave its row."""
    work, later = _Work(), {row.key: row for row in about if row is not None}
    for receipt, found in zip(received, about, strict=True):
        if found is None or is_of_another(found, receipt):
            work.fates.append(Fate.UNMATCHED)
            continue
        row, status = later[found.key], receipt.status
        if _in_parts(receipt, row) and status is not ReceiptStatus.UNDER_WAY:
            told = parts[(*row.key, attempt_of(row, receipt))]
            told.setdefault(receipt.message_id or "", status)
            status = of_the_whole(told.values(), row.segments)
            work.keeps.append(_kept(receipt, row, now_ms))
        step = decide(row, receipt, status)
        if step is Step.SETTLE:
            after = state_after(status)
            work.moves[row.key] = _move(row, receipt, after, now_ms)
            later[row.key] = row._replace(state=after)
        elif step is Step.KEEP:
            work.keeps.append(_kept(receipt, row, now_ms))
        work.fates.append(_FATES[step])
    return work


def _move(row: SentRow, receipt: Receipt, after: State, now_ms: int) -> tuple[Any, ...]:
    failed = after is State.UNDELIVERED
    code, reason = (receipt.code or "undelivered", receipt.reason) if failed else (None, None)
    at_ms = now_ms if receipt.at_ms is None else receipt.at_ms
    return row.batch_id, row.row, row.attempt, row.state, after, code, reason, at_ms, receipt.message_id


def _kept(receipt: Receipt, row: SentRow, now_ms: int) -> tuple[Any, ...]:
    told = receipt.message_id or "", receipt.status, receipt.provider, receipt.code, receipt.reason, receipt.at_ms
    return *row.key, *told, now_ms, attempt_of(row, receipt)


_FATES = {Step.SETTLE: Fate.SETTLED, Step.WAIT: Fate.EARLY, Step.KEEP: Fate.KEPT, Step.PASS: Fate.PASSED}

_FIND = """
    SELECT m.batch_id, m.row_no, m.attempt, m.state, m.recipient, m.provider_message_id, m.segments,
           m.resent_in IS NOT NULL, COALESCE(m.provider, b.provider)
    FROM {rows}
    JOIN messages m ON m.batch_id = w.batch_id AND m.row_no BETWEEN w.first_row AND w.last_row
    JOIN batches b ON b.id = m.batch_id
"""
_FIND_IDS = """
    SELECT p.provider, p.message_id, p.batch_id, p.row_no, p.attempt
    FROM {rows} JOIN provider_ids p ON p.provider = w.provider AND p.message_id = w.message_id
"""
_FIND_PARTS = """
    SELECT r.batch_id, r.row_no, r.attempt, r.message_id, r.status
    FROM {rows} JOIN receipts r ON r.batch_id = w.batch_id AND r.row_no = w.row_no
"""
_KEEP = """
    INSERT INTO receipts (batch_id, row_no, message_id, status, provider, error_code, error_reason, at_ms,
                          received_at_ms, attempt)
    SELECT w.batch_id, w.row_no, w.message_id, w.status, w.provider, w.error_code, w.error_reason, w.at_ms,
           w.received_at_ms, w.attempt
    FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
"""
_NOTE = """
    INSERT INTO provider_ids (provider, message_id, batch_id, row_no, attempt)
    SELECT w.provider, w.message_id, w.batch_id, w.row_no, w.attempt FROM {rows} WHERE true
    ON CONFLICT (provider, message_id) DO UPDATE
        SET batch_id = excluded.batch_id, row_no = excluded.row_no, attempt = excluded.attempt
"""
_LOCK = with_rows(
    """
    SELECT 1 FROM {rows} JOIN messages m ON m.batch_id = w.batch_id AND m.row_no = w.row_no
    ORDER BY m.batch_id, m.row_no FOR UPDATE OF m
    """,
    KEYS,
    sqlite=False,
)
