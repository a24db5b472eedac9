"""The ledger as a server of requests needs it: every answer within a time, and none before the tables are there."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.errors import LedgerUnavailable
from shared.ledger.control import ControlLedger
from shared.ledger.database import Database
from shared.ledger.reading import BatchView, MessageView, ReadingLedger
from shared.ledger.resending import Resend, ResendLedger, Resent
from shared.states import BatchState, State

_TIMEOUT_S = 5.0
_CONTROL_TIMEOUT_S = 30.0
"""A cancel or a resend writes up to 100,000 rows; what it has not done by then, the next one does."""
_PAUSE_AFTER_FAILURE_S = 1.0

Answer = TypeVar("Answer")


class Ledger:
    """`ReadingLedger`, `ControlLedger` and `ResendLedger` with a deadline.

    LedgerUnavailable at once for a moment after the database could not be reached.
    """

    def __init__(self, database: Database) -> None:
        self._database, self._reading, self._control = database, ReadingLedger(database), ControlLedger(database)
        self._resending = ResendLedger(database)
        self._not_before = 0.0
        self.is_ready = False
        """The tables are there; a later outage of the database leaves it True, for the api goes on accepting."""

    async def prepare(self) -> None:
        """Migrate the database as soon as it can be reached."""
        await self._database.migrate_when_reachable()
        self.is_ready = True

    async def batch(self, batch_id: str, timeout_s: float = _TIMEOUT_S) -> BatchView | None:
        """The batch, or None where the ledger has none of that id (yet)."""
        return await self._within(timeout_s, lambda: self._reading.batch(batch_id))

    async def batches(self, limit: int, before: tuple[int, str] | None) -> list[BatchView]:
        """Batches, newest first."""
        return await self._within(_TIMEOUT_S, lambda: self._reading.batches(limit, before))

    async def messages(self, batch_id: str, limit: int, state: State | None, after_row: int) -> list[MessageView]:
        """A batch's numbers in row order."""
        return await self._within(_TIMEOUT_S, lambda: self._reading.messages(batch_id, limit, state, after_row))

    async def pause(self, batch_id: str) -> BatchState | None:
        """How the batch stands after the command, or None where the ledger has none of that id (yet)."""
        return await self._within(_CONTROL_TIMEOUT_S, lambda: self._control.pause(batch_id))

    async def resume(self, batch_id: str) -> BatchState | None:
        """As `pause`."""
        return await self._within(_CONTROL_TIMEOUT_S, lambda: self._control.resume(batch_id))

    async def cancel(self, batch_id: str) -> BatchState | None:
        """As `pause`."""
        return await self._within(_CONTROL_TIMEOUT_S, lambda: self._control.cancel(batch_id))

    async def resend(self, wanted: Resend) -> Resent | None:
        """As `ResendLedger.resend`; what is cut off by the deadline was done as a whole or not at all."""
        return await self._within(_CONTROL_TIMEOUT_S, lambda: self._resending.resend(wanted))

    async def _within(self, timeout_s: float, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        if not self.is_ready or time.monotonic() < self._not_before:
            raise LedgerUnavailable("the ledger is not reachable at the moment")
        try:
            async with asyncio.timeout(timeout_s):
                return await ask()
        except TimeoutError:
            self._not_before = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            raise LedgerUnavailable(f"no answer within {timeout_s:g} s") from None
        except LedgerUnavailable:
            self._not_before = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            raise
