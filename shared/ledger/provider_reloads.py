"""How often operators have asked all services to read the providers file again."""

from sqlalchemy import text

from shared.ledger.database import Database


class ProviderReloads:
    """One number for all services."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self) -> None:
        """Have every service read the file again within seconds."""
        async with self._database.writing() as connection:
            await connection.execute(_ASK)

    async def asked(self) -> int:
        """How often that was asked for."""
        async with self._database.reading() as connection:
            return int(await connection.scalar(_ASKED) or 0)


_ASK = text("""
    INSERT INTO provider_reloads (id, asked) VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET asked = provider_reloads.asked + 1
""")
_ASKED = text("SELECT asked FROM provider_reloads WHERE id = 1")
