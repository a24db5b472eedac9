"""Reading the providers file again: at SIGHUP, or when an operator has asked all services for it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import structlog

from shared.errors import SettingsError
from shared.ledger.database import Database
from shared.ledger.provider_reloads import ProviderReloads
from shared.ledger.waiting import when_ledger_answers
from shared.providers import Providers, read_providers, wrong_providers
from shared.settings import Settings

_LOOK_EVERY_S = 2.0
_AT_START = ("type", "timeout_s", "numbers_per_call", "concurrency", "receipts", "sender_name")
"""What leases and prefetches were made of, and what providers are asked to call."""

log = structlog.get_logger()


class Reloading:
    """Has a service take what the file says now; a mistake in it is logged, and what was read before holds.

    `take` gets the providers; what it raises as SettingsError is a mistake too.
    """

    def __init__(self, settings: Settings, database: Database, take: Callable[[Providers], Awaitable[None]]) -> None:
        self._file, self._providers = settings.providers_file, settings.all_providers
        self._reloads, self._take = ProviderReloads(database), take
        self._signalled = asyncio.Event()

    async def run(self) -> None:
        """Wait for the signal and the operators, until cancelled."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._signalled.set)
        seen = await when_ledger_answers(self._reloads.asked)
        while True:
            await self._pause()
            if self._signalled.is_set():
                self._signalled.clear()
                await self._reload()
                continue
            asked = await when_ledger_answers(self._reloads.asked)
            if asked != seen:
                seen = asked
                await self._reload()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_EVERY_S):
                await self._signalled.wait()
        except TimeoutError:
            pass

    async def _reload(self) -> None:
        if self._file is None:
            log.warning("providers_not_reloaded", reason="there is no SMS_PROVIDERS_FILE")
            return
        try:
            providers = read_providers(self._file)
            _refuse_what_needs_a_start(self._providers, providers)
            await self._take(providers)
        except SettingsError as error:
            log.error("providers_not_reloaded", reason=str(error))
            return
        self._providers = providers
        log.info("providers_reloaded", providers=", ".join(providers.names))


def _refuse_what_needs_a_start(before: Providers, after: Providers) -> None:
    """SettingsError where something changed that services take at their start only."""
    if set(before.names) != set(after.names):
        changed = sorted(set(before.names) ^ set(after.names))
        raise wrong_providers(f"providers.{changed[0]}: one more or less needs a restart of the services")
    for name in before.names:
        for key in _AT_START:
            if getattr(before.by_name[name], key) != getattr(after.by_name[name], key):
                raise wrong_providers(f"providers.{name}.{key}: a change of it needs a restart of the services")
