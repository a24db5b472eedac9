"""Connections to PostgreSQL: made by asyncpg, to the first of the servers that takes one."""

import re
from typing import Any

import asyncpg

from shared.errors import SettingsError
from shared.ledger.address import Place, PostgresAddress

_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_WHO = re.compile(r'\b(user|role) "[^"]*"')


class Servers:
    """The servers of an address, each tried with a time of its own; what has failed comes last the next time.

    asyncpg would try them within one time, so that a machine that is switched off used it up for all.
    """

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._places: list[Place | None] = list(address.places) or [None]

    async def connect(self, **options: Any) -> asyncpg.Connection:
        """A connection with these options of `asyncpg.connect`.

        What asyncpg raises, or a ConnectionError, with host and port in its text, and neither user nor password.
        SettingsError where the address, with what libpq's own variables and files add to it, makes no sense.
        """
        failures: list[Exception] = []
        for place in list(self._places):
            try:
                return await self._connected(place, options)
            except asyncpg.ClientConfigurationError as error:
                raise SettingsError(f"SMS_DATABASE_URL: {_reason(error)}") from None
            except _FAILURES as error:
                failures.append(self._named(error, place))
        raise _together(failures)

    async def _connected(self, place: Place | None, options: dict[str, Any]) -> asyncpg.Connection:
        where = {"host": place.host, "port": place.port} if place else {}
        tls = {"ssl": True} if self._address.trusts_system else {}
        timeout_s = self._address.connect_timeout_s
        try:
            return await asyncpg.connect(self._address.dsn, timeout=timeout_s, **where, **tls, **options)
        except BaseException:
            # Whoever waits may give up before this one's time has passed; it comes last the next time all the same.
            self._places.remove(place)
            self._places.append(place)
            raise

    def _named(self, error: Exception, place: Place | None) -> Exception:
        where = f"PostgreSQL at {place}" if place else "PostgreSQL, of which no host is named"
        if isinstance(error, TimeoutError):
            return ConnectionError(f"{where}: no answer within {self._address.connect_timeout_s} s")
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            return ConnectionError(f"{where}: it takes no writes")
        if isinstance(error, OSError):
            return ConnectionError(f"{where}: {_reason(error)}")
        error.args = (f"{where}: {_reason(error)}",)
        return error


def _together(failures: list[Exception]) -> Exception:
    """One error for all: what a server said where one said something."""
    if len(failures) == 1:
        return failures[0]
    sentence = "; ".join(str(failure) for failure in failures)
    said = next((failure for failure in failures if not isinstance(failure, OSError)), ConnectionError())
    said.args = (sentence,)
    return said


def _reason(error: Exception) -> str:
    first_line = (str(error).splitlines() or [""])[0]
    return _WHO.sub(r"\1 ***", first_line) or type(error).__name__
