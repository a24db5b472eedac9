"""The ledger, opened for one command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from shared.ledger.database import Database


@asynccontextmanager
async def opened(url: SecretStr) -> AsyncIterator[Database]:
    """The database with the tables of this version, closed at the end."""
    database = Database(url.get_secret_value())
    try:
        await database.migrate()
        yield database
    finally:
        await database.close()
