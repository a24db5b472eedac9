"""A PostgreSQL server that tests share, and their databases on it."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import asyncpg

from shared.ledger.database import Database
from tests.support import transitions
from tests.support.names import unlike_a_number

_TEMPLATE = "migrated"


@dataclass(frozen=True)
class PostgresServer:
    """Where it is: the address of its first database, with user and password. It has a template with our tables, which
    refuse transitions that there are not."""

    url: str

    @classmethod
    def with_template(cls, url: str) -> Self:
        """A server that is new: its template is made."""
        server = cls(url)
        _run(server._create(_TEMPLATE, "template1"))
        _run(_migrate(server._address(_TEMPLATE)))
        return server

    def new_database(self, *, migrated: bool = True) -> str:
        """The address of a database of one's own: with our tables as a service that starts leaves them, or empty."""
        name = f"test_{unlike_a_number()}"
        _run(self._create(name, _TEMPLATE if migrated else "template1"))
        return self._address(name)

    def _address(self, database: str) -> str:
        return f"{self.url.rsplit('/', 1)[0]}/{database}"

    async def _create(self, name: str, template: str) -> None:
        connection = await asyncpg.connect(self.url)
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        await connection.close()


async def take_no_writes(url: str, value: str) -> None:
    """Make a database read-only ("on") as a standby is, or no more ("off"), and turn out who is in."""
    connection = await asyncpg.connect(url, server_settings={"default_transaction_read_only": "off"})
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name
    )
    await connection.close()


async def _migrate(url: str) -> None:
    database = Database(url)
    await database.migrate()
    await database.close()
    connection = await asyncpg.connect(url)
    await connection.execute(transitions.POSTGRES)
    await connection.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """In a thread, so that a test with an event loop of its own may ask too."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()
