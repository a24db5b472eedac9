"""The database behind the ledger: connections, transactions, migrations, for SQLite and PostgreSQL."""

import asyncio
import fcntl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from shared.errors import LedgerBroken, LedgerRefused, LedgerUnavailable, SettingsError
from shared.files import for_owner_only, make_for_owner_only
from shared.ledger.address import PostgresAddress
from shared.ledger.connecting import Servers
from shared.ledger.waiting import when_ledger_answers

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x736D73  # "sms": PostgreSQL's advisory lock that one migrating service holds
_SQLITE_BUSY_TIMEOUT_S = 30
_POSTGRES = "postgresql+asyncpg"
_POOL_TIMEOUT_S = 5
_COMMAND_TIMEOUT_S = 30
_IDLE_TIMEOUT_MS = 10_000
_PLAN_LIFETIME_S = 10
"""Of the statements of `run`: a plan for a ledger of a few rows is kept by PostgreSQL until it analyzes the table, a
minute and a hundred thousand rows later."""
_PLANS_BY_KEY = {
    **dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"), "off"),
    "jit": "off",
}
"""PostgreSQL keeps a statement's plan until it analyzes the table. One that was made while a new ledger was nearly
empty would be to read the whole table for each micro-batch, and would stay so while the table grows. What has to read
all of it all the same seems so expensive then that PostgreSQL would compile it first. And a bitmap finds rows in the
order in which they lie: who updates them so can deadlock with who does it by key."""

log = structlog.get_logger()


class Database:
    """Transactions on one database; every failure to reach it is a `LedgerUnavailable`."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite:")
        # Of PostgreSQL's URL SQLAlchemy knows nothing: it would make each of libpq's parameters an argument of asyncpg.
        self._url = make_url(url).set(drivername="sqlite+aiosqlite") if self.is_sqlite else URL.create(_POSTGRES)
        self._reading, self._writing = self._sqlite_engines() if self.is_sqlite else self._postgres_engine(url)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        async with _translated(), self._reading.connect() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at its end, and rolled back where the block raises."""
        async with _translated(), self._writing.begin() as connection:
            yield connection

    @asynccontextmanager
    async def each_by_itself(self) -> AsyncIterator[AsyncConnection]:
        """Statements that are transactions of their own: on PostgreSQL no lock is held from one to the next.

        SQLite has one writer at a time, so there it is one transaction, which reaches the disk once.
        """
        if self.is_sqlite:
            async with self.writing() as connection:
                yield connection
            return
        async with _translated(), self._writing.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def run(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Run one statement of PostgreSQL with its values ($1, $2, …) as a transaction of its own; its rows.

        Past SQLAlchemy, which costs a sender two microseconds a number: for the few statements of the way of a number.
        """
        async with _translated(), self._writing.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            if raw.is_closed():
                await connection.invalidate()
                raw = (await connection.get_raw_connection()).driver_connection
            try:
                found: list[asyncpg.Record] = await raw.fetch(statement, *values)
            except BaseException:
                # What became of the connection, SQLAlchemy has not seen.
                await connection.invalidate()
                raise
            return found

    @property
    def file(self) -> Path | None:
        """SQLite's file, which opening the database would make; None for a server."""
        return Path(self._url.database) if self.is_sqlite and self._url.database else None

    async def revision(self) -> str | None:
        """The version that the tables have; None where there are none."""
        async with self.reading() as connection:
            return await connection.run_sync(lambda each: MigrationContext.configure(each).get_current_revision())

    async def migrate(self) -> None:
        """Bring the tables to this version; safe while other services do the same.

        SettingsError where what is there is a pooler that keeps our settings from PostgreSQL.
        """
        if self.is_sqlite and self._url.database:
            make_for_owner_only(Path(self._url.database))  # SQLite gives its other files the same mode
            await asyncio.to_thread(_migrate_sqlite, Path(self._url.database))
            return
        async with self.writing() as connection:
            if await connection.scalar(text("SHOW enable_bitmapscan")) != _PLANS_BY_KEY["enable_bitmapscan"]:
                raise SettingsError(_POOLER)
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            await connection.run_sync(_upgrade)

    async def migrate_when_reachable(self) -> None:
        """Migrate, waiting for the database as long as it takes."""
        await when_ledger_answers(self.migrate, "waiting_for_database")

    async def close(self) -> None:
        """Close every connection."""
        await self._reading.dispose()
        await self._writing.dispose()

    def _postgres_engine(self, url: str) -> tuple[AsyncEngine, AsyncEngine]:
        engine = create_async_engine(
            self._url,
            hide_parameters=True,  # an error's text must not quote numbers and texts
            pool_size=4,
            max_overflow=4,
            pool_timeout=_POOL_TIMEOUT_S,
            connect_args={
                "async_creator_fn": Servers(PostgresAddress.of(url)).connect,
                "command_timeout": _COMMAND_TIMEOUT_S,
                "max_cached_statement_lifetime": _PLAN_LIFETIME_S,
                # A process that stands still in a transaction must not hold up all others with its locks.
                "server_settings": {
                    "idle_in_transaction_session_timeout": str(_IDLE_TIMEOUT_MS),
                    **_PLANS_BY_KEY,
                },
            },
        )
        event.listen(engine.sync_engine, "handle_error", _lose_what_is_stuck)
        event.listen(engine.sync_engine, "connect", _note_age)
        event.listen(engine.sync_engine, "checkout", _lose_what_takes_no_writes)
        return engine, engine

    def _sqlite_engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        # SQLite has one writer at a time: one connection of this process queues for it in order, instead of several
        # that poll for the lock.
        writing = create_async_engine(
            self._url, hide_parameters=True, pool_size=1, max_overflow=0, pool_timeout=_COMMAND_TIMEOUT_S
        )
        reading = create_async_engine(self._url, hide_parameters=True, pool_size=4)
        for engine, begin in ((writing, "BEGIN IMMEDIATE"), (reading, "BEGIN")):
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_with(begin))
        return reading, writing


def known_revisions() -> list[str]:
    """The versions of the tables that this code knows of, the newest (its own) first."""
    return [script.revision for script in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()]


def _lose_what_is_stuck(context: ExceptionContext) -> None:
    """Take a connection for lost that asyncpg cannot use any more, or whose server takes no writes.

    One that was cut in the middle of a COPY still has "another operation in progress" when it is rolled back. After a
    failover the old primary may be there still, read-only: a new connection finds whoever is primary now.
    """
    original = context.original_exception
    is_read_only = getattr(original, "sqlstate", None) == _READ_ONLY
    if is_read_only or isinstance(original.__cause__, asyncpg.InterfaceError):
        context.is_disconnect = True


def _note_age(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_CONNECTED_AT_S] = time.monotonic()


def _lose_what_takes_no_writes(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Give up a connection whose server has become read-only, or was so when it was made, some seconds ago.

    A service that only reads would else tell for ever what the old primary knew. PostgreSQL tells with the answer to
    each statement whether these settings have changed (from version 14 on), so this costs no round trip.
    """
    driver: Any = record.driver_connection
    told = driver.get_settings()
    is_read_only = "on" in (getattr(told, name, "off") for name in _READ_ONLY_SETTINGS)
    if is_read_only and time.monotonic() - record.info[_CONNECTED_AT_S] > _READ_ONLY_FOR_S:
        raise InvalidatePoolError


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # no implicit BEGIN: ours says which kind
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_SQLITE_BUSY_TIMEOUT_S * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    # A claim that a power cut takes back could be sent twice, so every commit reaches the disk.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_with(statement: str) -> Any:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return begin


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise _translation(error) from error
    except (asyncpg.DataError, OverflowError) as error:
        # Unwrapped too: COPY and `run` go past SQLAlchemy.
        raise LedgerRefused(_first_line(error)) from None
    except asyncpg.PostgresError as error:
        if _POOLERS_WORDS in str(error):
            raise SettingsError(_POOLER) from None
        # Of these, and of a connection that is being made: the server starts, stops, is full, or does not let us in.
        if error.sqlstate == _READ_ONLY:
            raise LedgerUnavailable(f"PostgreSQL is read-only: {_first_line(error)}") from error
        passes = str(error.sqlstate)[:2] in _PASSING | _NOT_LET_IN
        raise (LedgerUnavailable if passes else LedgerBroken)(_first_line(error)) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, PoolTimeout, TimeoutError) as error:
        # asyncpg's own confusion is of one connection: what a dying server said last came between two statements.
        raise LedgerUnavailable(_first_line(error)) from error


def _translation(error: DBAPIError) -> Exception:
    """The error as a ledger's; whatever is neither a bad value nor a passing fault stays what it is."""
    original = error.orig or error
    if _POOLERS_WORDS in str(original):
        return SettingsError(_POOLER)
    sqlstate = str(getattr(original, "sqlstate", None) or "")
    if sqlstate.startswith(_BAD_VALUE) or isinstance(original.__cause__, asyncpg.DataError):
        return LedgerRefused(_first_line(original))
    if sqlstate == _READ_ONLY:
        return LedgerUnavailable(f"PostgreSQL is read-only: {_first_line(original)}")
    passes = sqlstate[:2] in _PASSING | _NOT_LET_IN
    if error.connection_invalidated or passes or isinstance(error, OperationalError):
        return LedgerUnavailable(_first_line(original))
    return error


_POOLERS_WORDS = "unsupported startup parameter"
"""PgBouncer's, for settings of a session; PostgreSQL takes them."""
_POOLER = (
    "SMS_DATABASE_URL leads to a connection pooler (PgBouncer), which takes no settings for a session, and in "
    "transaction mode keeps no prepared statement; give PostgreSQL's own address: a service has at most 8 connections"
)
_BAD_VALUE = "22"
_READ_ONLY = "25006"
_READ_ONLY_SETTINGS = ("in_hot_standby", "default_transaction_read_only")
_READ_ONLY_FOR_S = 3.0
_CONNECTED_AT_S = "connected_at_s"
_PASSING = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""SQLSTATE classes: connection, read-only, rollback (deadlock), resources, not ready, operator, I/O."""
_NOT_LET_IN = frozenset({"28", "3D"})
"""While a connection is made: a wrong user or password, no such database (yet)."""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _migrate_sqlite(path: Path) -> None:
    engine = create_engine(URL.create("sqlite", database=str(path)))
    with _locked(path.with_suffix(path.suffix + ".lock")), engine.begin() as connection:
        _upgrade(connection)
    engine.dispose()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w", opener=for_owner_only) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
