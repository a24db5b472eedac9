"""How much of a provider's daily limit is used, counted by all senders together."""

from sqlalchemy import text

from shared.ledger.database import Database


class ProviderDays:
    """One row per provider and day (ISO 8601, in the zone of the limit); only today's and yesterday's are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, provider: str, day: str, units: int, limit: int) -> bool:
        """Use so many units of the day's limit; False, and nothing used, where fewer are left."""
        values = {"provider": provider, "day": day, "units": units, "limit": limit}
        if units > limit:
            return False
        async with self._database.writing() as connection:
            taken = (await connection.execute(_TAKE, values)).rowcount
            if taken:
                await connection.execute(_FORGET, {"provider": provider, "day": day})
        return bool(taken)


_TAKE = text("""
    INSERT INTO provider_days (provider, day, used) VALUES (:provider, :day, :units)
    ON CONFLICT (provider, day) DO UPDATE SET used = provider_days.used + :units
     WHERE provider_days.used + :units <= :limit
""")
# By the names of days: not those of a zone that is a day behind.
_FORGET = text("""
    DELETE FROM provider_days WHERE provider = :provider AND day < :day
       AND day NOT IN (SELECT MAX(day) FROM provider_days WHERE provider = :provider AND day < :day)
""")
