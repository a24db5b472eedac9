"""The ledger as a server of requests needs it: every answer within a time, and none before the tables are there."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from shared.domain.message import Key
from shared.domain.states import BatchState, State
from shared.errors import LedgerUnavailable
from shared.ledger import waiting
from shared.ledger.attempts import Attempt, AttemptsLedger
from shared.ledger.control import ControlLedger
from shared.ledger.database import Database
from shared.ledger.dead_letters import DeadLettersLedger, FailedFilter, FailedGroup, FailedNumber
from shared.ledger.provider_gates import Held, ProviderGates, Standing
from shared.ledger.provider_senders import ProviderSenders, Served
from shared.ledger.reading import BatchView, MessageView, ReadingLedger
from shared.ledger.receipts import KeptReceipt, ReceiptsLedger
from shared.ledger.resending import Resend, ResendLedger, Resent
from shared.ledger.suppressions import Suppression, SuppressionLedger

_TIMEOUT_S = 5.0
_CONTROL_TIMEOUT_S = 30.0
"""A cancel or a resend writes up to 100,000 rows; what it has not done by then, the next one does."""
_PAUSE_AFTER_FAILURE_S = 1.0

Answer = TypeVar("Answer")


class Ledger:
    """The parts of the ledger that requests need, with a deadline.

    LedgerUnavailable at once for a moment after the database could not be reached.
    """

    def __init__(self, database: Database) -> None:
        self._database, self._reading, self._control = database, ReadingLedger(database), ControlLedger(database)
        self._resending = ResendLedger(database)
        self._attempts, self._letters = AttemptsLedger(database), DeadLettersLedger(database)
        self._receipts, self._suppressions = ReceiptsLedger(database), SuppressionLedger(database)
        self._gates, self._senders = ProviderGates(database), ProviderSenders(database)
        self._not_before = 0.0
        self._is_ready = False

    async def prepare(self) -> None:
        """Migrate the database as soon as it can be reached."""
        await self._database.migrate_when_reachable()
        self._is_ready = True

    def check(self) -> bool | str:
        """For `/readyz`: whether the tables are there, or what they are waited for.

        A later outage of the database leaves it True, for the api goes on accepting.
        """
        return self._is_ready or waiting.reason() or False

    async def batch(self, batch_id: str, timeout_s: float = _TIMEOUT_S) -> BatchView | None:
        """The batch, or None where the ledger has none of that id (yet)."""
        return await self._within(timeout_s, lambda: self._reading.batch(batch_id))

    async def batches(self, limit: int, before: tuple[int, str] | None, tag: str | None) -> list[BatchView]:
        """Batches, newest first."""
        return await self._within(_TIMEOUT_S, lambda: self._reading.batches(limit, before, tag))

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

    async def attempts(self, batch_id: str, row: int) -> list[Attempt] | None:
        """The attempts of a number; None where the ledger has no such number."""
        return await self._within(_TIMEOUT_S, lambda: self._attempts.of(batch_id, row))

    async def receipts(self, batch_id: str, row: int) -> Sequence[KeptReceipt]:
        """The receipts of a number's history."""
        return await self._within(_TIMEOUT_S, lambda: self._receipts.of(batch_id, row))

    async def suppressions(self, limit: int, after: int, recipient: str | None) -> Sequence[tuple[int, Suppression]]:
        """The next numbers that opted out, with their places in the list."""
        return await self._within(_TIMEOUT_S, lambda: self._suppressions.page(limit, after, recipient))

    async def suppress(self, entries: Sequence[Suppression]) -> int:
        """Put numbers on the list; how many were not on it."""
        return await self._within(_CONTROL_TIMEOUT_S, lambda: self._suppressions.add(entries))

    async def unsuppress(self, recipients: Sequence[str], sender_name: str | None) -> int:
        """Take numbers off the list; how many entries there were."""
        return await self._within(_CONTROL_TIMEOUT_S, lambda: self._suppressions.remove_of(recipients, sender_name))

    async def failed(self, which: FailedFilter, limit: int, after: Key | None) -> list[FailedNumber]:
        """The next failed numbers, by batch and row."""
        return await self._within(_TIMEOUT_S, lambda: self._letters.failed(which, limit, after))

    async def failed_groups(self, which: FailedFilter) -> list[FailedGroup]:
        """The failed numbers, counted."""
        return await self._within(_TIMEOUT_S, lambda: self._letters.failed_groups(which))

    async def places_of(self, recipient: str) -> frozenset[Key]:
        """Where a number (E.164) has failed."""
        return await self._within(_TIMEOUT_S, lambda: self._letters.places_of(recipient))

    async def held(self) -> Sequence[Held]:
        """The providers that nobody calls for now."""
        return await self._within(_TIMEOUT_S, self._gates.held)

    async def standings(self) -> Mapping[str, Standing]:
        """How the providers stand that anything is known of."""
        return await self._within(_TIMEOUT_S, self._gates.standings)

    async def served(self) -> Mapping[str, Served]:
        """What the senders do for each provider."""
        return await self._within(_TIMEOUT_S, self._senders.served)

    async def pause_provider(self, name: str) -> None:
        """Let nobody call it."""
        await self._within(_TIMEOUT_S, lambda: self._gates.pause(name))

    async def resume_provider(self, name: str) -> None:
        """End its pauses."""
        await self._within(_TIMEOUT_S, lambda: self._gates.resume(name))

    async def _within(self, timeout_s: float, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        if not self._is_ready or time.monotonic() < self._not_before:
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
