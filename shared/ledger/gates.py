"""A provider's gate: the rate of calls and the pauses that all senders keep together."""

from sqlalchemy import text

from shared.clock import now_ms
from shared.ledger.database import Database

_US = 1_000_000
_SQLITE = {"now_us": ":now_us", "greatest": "MAX"}
_POSTGRES = {"now_us": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)", "greatest": "GREATEST"}


class ProviderGates:
    """One row per provider. All times are told as seconds from now, by one clock for all senders: the database's, or
    with SQLite the machine's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        words = _SQLITE if database.is_sqlite else _POSTGRES
        self._reserve, self._hold, self._held, self._shorten = (
            text(statement.format(**words)) for statement in (_RESERVE, _HOLD, _HELD, _SHORTEN)
        )

    async def reserve(self, provider: str, calls: int, interval_s: float) -> float:
        """Reserve that many calls, `interval_s` apart from each other and from all others; when the first may begin."""
        span_us = round(calls * interval_s * _US)
        async with self._database.writing() as connection:
            values = {"provider": provider, "span_us": span_us}
            found = await connection.execute(self._reserve, self._with_time(values))
            end_us, now_us = found.one()
        return max(0.0, (int(end_us) - span_us - int(now_us)) / _US)

    async def hold(self, provider: str, pause_s: float) -> None:
        """Have every sender pause; a longer pause that holds already stays."""
        values = {"provider": provider, "pause_us": round(pause_s * _US)}
        async with self._database.writing() as connection:
            await connection.execute(self._hold, self._with_time(values))

    async def shorten(self, provider: str, longest_s: float) -> bool:
        """Let a pause end after this time at the latest, 0 for at once; whether a longer one was held."""
        values = {"provider": provider, "longest_us": round(longest_s * _US)}
        async with self._database.writing() as connection:
            return bool((await connection.execute(self._shorten, self._with_time(values))).rowcount)

    async def held_s(self, provider: str) -> float:
        """How long the pause still lasts; 0 without one."""
        async with self._database.reading() as connection:
            found = (await connection.execute(self._held, self._with_time({"provider": provider}))).scalar()
        return max(0.0, int(found or 0) / _US)

    def _with_time(self, values: dict[str, object]) -> dict[str, object]:
        return {**values, "now_us": now_ms() * 1000} if self._database.is_sqlite else values


_RESERVE = """
    INSERT INTO provider_gates (provider, next_slot_us, held_until_us) VALUES (:provider, {now_us} + :span_us, 0)
    ON CONFLICT (provider) DO UPDATE
       SET next_slot_us = {greatest}(provider_gates.next_slot_us, provider_gates.held_until_us, {now_us}) + :span_us
    RETURNING next_slot_us, {now_us}
"""
_HOLD = """
    INSERT INTO provider_gates (provider, next_slot_us, held_until_us) VALUES (:provider, 0, {now_us} + :pause_us)
    ON CONFLICT (provider) DO UPDATE
       SET held_until_us = {greatest}(provider_gates.held_until_us, {now_us} + :pause_us)
"""
_SHORTEN = """
    UPDATE provider_gates SET held_until_us = {now_us} + :longest_us
    WHERE provider = :provider AND held_until_us > {now_us} + :longest_us
"""
_HELD = "SELECT held_until_us - {now_us} FROM provider_gates WHERE provider = :provider"
