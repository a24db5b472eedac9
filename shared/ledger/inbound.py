"""Texts from handsets that a person has to look at: they read like an opt-out, and are none of the words."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import select, update

from shared.ledger.bulk_params import as_rows, with_rows
from shared.ledger.database import Database
from shared.ledger.suppressions import Source, Suppression, add_suppressions
from shared.ledger.tables import inbound_reviews


class Decision(StrEnum):
    """What a person made of a text."""

    OPTED_OUT = "opted_out"
    DISMISSED = "dismissed"


class Review(NamedTuple):
    """A text to be looked at; `recipient` is who wrote it, in full: whoever shows it masks it. `sender_name` is whom
    it was written to."""

    provider: str
    message_id: str | None
    recipient: str
    sender_name: str
    text: str
    received_at_ms: int


_COLUMNS = {
    "provider": "text", "message_id": "text", "recipient": "text", "sender_name": "text", "text": "text",
    "received_at_ms": "bigint",
}  # fmt: skip


class InboundLedger:
    """Keeps them until somebody has decided; then the text goes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._add = with_rows(_ADD, _COLUMNS, sqlite=database.is_sqlite)

    async def add(self, reviews: Sequence[Review]) -> None:
        """Keep texts; one that a provider passes on again is there already."""
        async with self._database.writing() as connection:
            await connection.execute(self._add, {"rows": as_rows(reviews, _COLUMNS)})

    async def undecided(self, limit: int) -> Sequence[tuple[int, Review]]:
        """The oldest that nobody has decided about, with their ids."""
        columns = [inbound_reviews.c.id, *(inbound_reviews.c[name] for name in Review._fields)]
        query = select(*columns).where(inbound_reviews.c.decision.is_(None)).order_by(inbound_reviews.c.id)
        async with self._database.reading() as connection:
            return [(id_, Review(*row)) for id_, *row in await connection.execute(query.limit(limit))]

    async def decide(self, ids: Sequence[int], decision: Decision, now_ms: int) -> int:
        """Decide about texts, in one transaction with the opt-outs; of how many nobody had."""
        this = inbound_reviews.c.id.in_(ids), inbound_reviews.c.decision.is_(None)
        values = {"decision": decision.value, "decided_at_ms": now_ms, "text": ""}
        columns = inbound_reviews.c.recipient, inbound_reviews.c.sender_name
        async with self._database.writing() as connection:
            found = (
                await connection.execute(update(inbound_reviews).where(*this).values(values).returning(*columns))
            ).all()
            if decision is Decision.OPTED_OUT:
                reason = "by a text, as a person read it"
                entries = [Suppression(to, name, Source.RECIPIENT, reason, now_ms) for to, name in found]
                await add_suppressions(connection, entries, sqlite=self._database.is_sqlite)
        return len(found)


_ADD = """
    INSERT INTO inbound_reviews (provider, message_id, recipient, sender_name, text, received_at_ms)
    SELECT w.provider, w.message_id, w.recipient, w.sender_name, w.text, w.received_at_ms FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
"""
