"""The ledger, opened for one command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from shared.errors import LedgerUnavailable
from shared.ledger.clock import LedgerClock
from shared.ledger.database import Database
from tools.ctl.errors import CtlError


@asynccontextmanager
async def opened(url: SecretStr) -> AsyncIterator[Database]:
    """The database with the tables of this version, closed at the end; from now on the time is its clock's."""
    database = Database(url.get_secret_value())
    try:
        await database.migrate()
        await LedgerClock(database).look()
        yield database
    except LedgerUnavailable as error:
        raise CtlError(f"cannot reach the ledger: {error} (SMS_DATABASE_URL)") from None
    finally:
        await database.close()
