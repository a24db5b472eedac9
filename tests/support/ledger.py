"""Questions to a ledger's database that no service answers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import text

from shared.ledger.database import Database


def ask(database_url: str, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """The rows of one query."""
    # In a thread, so that a test with an event loop of its own may ask too.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _ask(database_url, query, values)).result()


async def _ask(database_url: str, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    database = Database(database_url)
    try:
        async with database.reading() as connection:
            return [tuple(row) for row in await connection.execute(text(query), values)]
    finally:
        await database.close()
