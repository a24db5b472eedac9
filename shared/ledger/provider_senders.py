"""What the senders say, every few seconds, of the providers that they serve."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import text

from shared.clock import now_ms
from shared.ledger.bulk_params import as_rows, with_rows
from shared.ledger.database import Database

FRESH_S = 15
"""Whom nobody has heard of for longer is held to be gone."""
_KEPT_S = 3600
_US = 1_000_000
_COLUMNS = {
    "provider": "text", "sender": "text", "in_flight": "integer", "sent": "integer", "failed": "integer",
}  # fmt: skip


class Activity(NamedTuple):
    """Of one provider: the calls under way, and the messages sent and failed in the last minute."""

    in_flight: int = 0
    sent: int = 0
    failed: int = 0


class Served(NamedTuple):
    """How many senders serve a provider, and what they do together."""

    senders: int
    activity: Activity


class ProviderSenders:
    """Times are by one clock for all senders: the database's, or with SQLite the machine's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        now_us = ":now_us" if database.is_sqlite else "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)"
        self._tell = with_rows(_TELL.replace("{now_us}", now_us), _COLUMNS, sqlite=database.is_sqlite)
        self._forget_old = text(_FORGET_OLD.replace("{now_us}", now_us))
        self._served = text(_SERVED.replace("{now_us}", now_us))

    async def tell(self, sender: str, activities: Mapping[str, Activity]) -> None:
        """Say what a sender does for each provider that it serves."""
        rows = [(provider, sender, *activity) for provider, activity in activities.items()]
        # After an outage of an hour every sender's rows are old: who held his own while he forgets those of others
        # could deadlock with them.
        async with self._database.each_by_itself() as connection:
            await connection.execute(self._tell, self._with_time({"rows": as_rows(rows, _COLUMNS)}))
            await connection.execute(self._forget_old, self._with_time({"kept_us": _KEPT_S * _US}))

    async def leave(self, sender: str) -> None:
        """The sender ends."""
        async with self._database.writing() as connection:
            await connection.execute(_LEAVE, {"sender": sender})

    async def served(self) -> Mapping[str, Served]:
        """By provider, of the senders that were heard of lately."""
        async with self._database.reading() as connection:
            found = await connection.execute(self._served, self._with_time({"fresh_us": FRESH_S * _US}))
            return {row[0]: Served(int(row[1]), Activity(*map(int, row[2:]))) for row in found}

    async def names(self) -> Sequence[str]:
        """The providers that any sender has served within the hour; one that ended well is not remembered."""
        async with self._database.reading() as connection:
            return (await connection.scalars(_NAMES)).all()

    def _with_time(self, values: Mapping[str, object]) -> dict[str, object]:
        return {**values, "now_us": now_ms() * 1000} if self._database.is_sqlite else dict(values)


_TELL = """
    INSERT INTO provider_senders (provider, sender, seen_at_us, in_flight, sent, failed)
    SELECT w.provider, w.sender, {now_us}, w.in_flight, w.sent, w.failed FROM {rows} WHERE true
    ON CONFLICT (provider, sender) DO UPDATE SET seen_at_us = excluded.seen_at_us, in_flight = excluded.in_flight,
        sent = excluded.sent, failed = excluded.failed
"""
_FORGET_OLD = "DELETE FROM provider_senders WHERE seen_at_us < {now_us} - :kept_us"
_LEAVE = text("DELETE FROM provider_senders WHERE sender = :sender")
_NAMES = text("SELECT DISTINCT provider FROM provider_senders ORDER BY provider")
_SERVED = """
    SELECT provider, COUNT(*), SUM(in_flight), SUM(sent), SUM(failed) FROM provider_senders
    WHERE seen_at_us > {now_us} - :fresh_us GROUP BY provider
"""
