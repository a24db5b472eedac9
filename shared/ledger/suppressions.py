"""Numbers that opted out: nothing is sent to them, whatever waits."""

import operator
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.bulk_params import as_rows, with_rows
from shared.ledger.database import Database
from shared.ledger.tables import suppressions

EVERY_SENDER = ""
"""The sender name of an opt-out from all that we send."""
OPTED_OUT, OPTED_OUT_REASON = "opted_out", "The recipient opted out"


class Source(StrEnum):
    """Who put a number on the list."""

    OPERATOR = "operator"
    IMPORT = "import"
    RECIPIENT = "recipient"  # by a text, such as STOP
    PROVIDER = "provider"  # by a code that says so


class Suppression(NamedTuple):
    """A number (E.164, in full: whoever shows it masks it) that gets nothing of a sender name; the empty one is all."""

    recipient: str
    sender_name: str
    source: Source
    reason: str | None
    added_at_ms: int


_COLUMNS = {
    "recipient": "text", "sender_name": "text", "source": "text", "reason": "text", "added_at_ms": "bigint"
}  # fmt: skip
_KEY = {"recipient": "text", "sender_name": "text"}
_RECIPIENTS = {"recipient": "text"}


class SuppressionLedger:
    """The list."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remove = with_rows(_REMOVE, _KEY, sqlite=database.is_sqlite)
        self._remove_all = with_rows(_REMOVE_ALL, _RECIPIENTS, sqlite=database.is_sqlite)

    async def add(self, entries: Sequence[Suppression]) -> int:
        """Put numbers on the list, in one transaction; how many were not on it.

        What is there stays as it was, but that its recipient has said it again later.
        """
        async with self._database.writing() as connection:
            return await add_suppressions(connection, entries, sqlite=self._database.is_sqlite)

    async def let_in_again(self, recipient: str, sender_name: str, said_at_ms: int) -> int:
        """Take a number off the list that its recipient, or a provider for it, put there before it said so; 0 or 1."""
        own = suppressions.c.source.in_([Source.RECIPIENT.value, Source.PROVIDER.value])
        this = suppressions.c.recipient == recipient, suppressions.c.sender_name == sender_name
        before = suppressions.c.added_at_ms <= said_at_ms
        async with self._database.writing() as connection:
            return int((await connection.execute(delete(suppressions).where(*this, own, before))).rowcount)

    async def remove(self, entries: Collection[tuple[str, str]]) -> int:
        """Take numbers (recipient, sender name) off the list; how many were on it."""
        async with self._database.writing() as connection:
            removed = await connection.execute(self._remove, {"rows": as_rows(sorted(set(entries)), _KEY)})
            return int(removed.rowcount)

    async def remove_of(self, recipients: Collection[str], sender_name: str | None) -> int:
        """The same for numbers with one sender name, or with whatever name where it is None."""
        if sender_name is not None:
            return await self.remove([(recipient, sender_name) for recipient in recipients])
        async with self._database.writing() as connection:
            rows = as_rows(sorted({(recipient,) for recipient in recipients}), _RECIPIENTS)
            return int((await connection.execute(self._remove_all, {"rows": rows})).rowcount)

    async def page(self, limit: int, after: int = 0, recipient: str | None = None) -> Sequence[tuple[int, Suppression]]:
        """The next entries with their ids, in the order in which they came; of one number where it is given."""
        query = select(*suppressions.c).where(suppressions.c.id > after).order_by(suppressions.c.id).limit(limit)
        if recipient is not None:
            query = query.where(suppressions.c.recipient == recipient)
        async with self._database.reading() as connection:
            found = await connection.execute(query)
            return [(id_, Suppression(*row)._replace(source=Source(row[2]))) for id_, *row in found]

    async def count(self) -> int:
        """How many entries there are."""
        async with self._database.reading() as connection:
            return int(await connection.scalar(select(func.count()).select_from(suppressions)) or 0)


async def add_suppressions(connection: AsyncConnection, entries: Iterable[Suppression], *, sqlite: bool) -> int:
    """As `SuppressionLedger.add`, in a transaction of somebody else's."""
    if not (ordered := sorted(dict.fromkeys(entries), key=operator.itemgetter(0, 1))):
        return 0
    return int((await connection.execute(_ADD[sqlite], {"rows": as_rows(ordered, _COLUMNS)})).rowcount)


async def suppressed_among(
    connection: AsyncConnection, recipients: Sequence[str], sender_name: str, *, sqlite: bool
) -> frozenset[str]:
    """Those of the numbers that get nothing of this sender name."""
    wanted = {"rows": as_rows([(recipient,) for recipient in recipients], _RECIPIENTS), "sender_name": sender_name}
    return frozenset((await connection.execute(_AMONG[sqlite], wanted)).scalars())


IS_SUPPRESSED = """
    COALESCE((SELECT true FROM suppressions s
              WHERE s.recipient = m.recipient AND s.sender_name IN ('', CAST(:sender_name AS text)) LIMIT 1), false)
"""
"""Of a row `m`: whether its number gets nothing of this sender name. No EXISTS, which PostgreSQL may answer by reading
the whole list into a hash table, where it takes the list for a short one."""
_ADDING = """
    INSERT INTO suppressions (recipient, sender_name, source, reason, added_at_ms)
    SELECT w.recipient, w.sender_name, w.source, w.reason, w.added_at_ms FROM {rows} WHERE true
    ON CONFLICT (recipient, sender_name) DO UPDATE SET added_at_ms = excluded.added_at_ms
        WHERE excluded.source = 'recipient' AND suppressions.source IN ('recipient', 'provider')
          AND suppressions.added_at_ms < excluded.added_at_ms
"""
_ADD = {sqlite: with_rows(_ADDING, _COLUMNS, sqlite=sqlite) for sqlite in (False, True)}
_REMOVE = """
    DELETE FROM suppressions
    WHERE EXISTS (SELECT 1 FROM {rows} WHERE w.recipient = suppressions.recipient
                                         AND w.sender_name = suppressions.sender_name)
"""
_REMOVE_ALL = """
    DELETE FROM suppressions WHERE EXISTS (SELECT 1 FROM {rows} WHERE w.recipient = suppressions.recipient)
"""
_AMONG = {
    sqlite: with_rows(
        "SELECT DISTINCT s.recipient FROM {rows} JOIN suppressions s ON s.recipient = w.recipient"
        " WHERE s.sender_name IN ('', CAST(:sender_name AS text))",
        _RECIPIENTS,
        sqlite=sqlite,
    )
    for sqlite in (False, True)
}
