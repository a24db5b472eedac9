"""The gateways that a sender has open: those in use, and those that were replaced and may have calls under way."""

import asyncio
from collections.abc import Mapping

from services.sender.providers.gateway import HttpGateway
from shared.running_tasks import RunningTasks


class OpenGateways:
    """A gateway for each provider, by its name."""

    def __init__(self, gateways: Mapping[str, HttpGateway]) -> None:
        self._in_use = dict(gateways)
        self._replaced: set[HttpGateway] = set()
        self._closing = RunningTasks()

    async def open(self) -> None:
        """Make ready to call."""
        await asyncio.gather(*(gateway.open() for gateway in self._in_use.values()))

    async def replace(self, name: str, gateway: HttpGateway, calls_end_within_s: float) -> None:
        """Open another gateway for a provider, and close the one before when its calls have ended."""
        await gateway.open()
        before, self._in_use[name] = self._in_use[name], gateway
        self._replaced.add(before)
        self._closing.begin(self._close_after(before, calls_end_within_s))

    async def close(self) -> None:
        """Close all of them."""
        await self._closing.cancel()
        await asyncio.gather(*(gateway.close() for gateway in [*self._in_use.values(), *self._replaced]))

    async def _close_after(self, gateway: HttpGateway, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._replaced.discard(gateway)
        await gateway.close()
