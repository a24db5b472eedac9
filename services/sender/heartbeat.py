"""What a sender says of itself in the ledger, so that operators see who serves which provider."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

import structlog

from shared.errors import LedgerUnavailable
from shared.ledger.provider_senders import Activity, ProviderSenders

_EVERY_S = 5.0
_LEAVE_WITHIN_S = 2.0
"""A row that is left is held to be gone soon, and a supervisor has little patience. A PostgreSQL that stands still
takes two more seconds to be given up; SQLite's lock is waited for by a thread that nobody can stop, as everywhere."""
_WINDOW_S = 60

log = structlog.get_logger()


class LastMinute:
    """How many messages were sent and failed in the last minute, second by second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: deque[tuple[int, int, int]] = deque()

    def add(self, sent: int, failed: int) -> None:
        """Count a micro-batch."""
        now = int(self._clock())
        if self._seconds and self._seconds[-1][0] == now:
            _, sent_before, failed_before = self._seconds.pop()
            sent, failed = sent + sent_before, failed + failed_before
        self._seconds.append((now, sent, failed))
        self._forget(now)

    def sums(self) -> tuple[int, int]:
        """Sent and failed."""
        self._forget(int(self._clock()))
        return sum(sent for _, sent, _ in self._seconds), sum(failed for _, _, failed in self._seconds)

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] <= now - _WINDOW_S:
            self._seconds.popleft()


class Heartbeat:
    """Tells the ledger, again and again; one that is away is told the next time.

    Dispatchers go by it where there are several providers: one that no sender has told of lately is given nothing.
    """

    def __init__(self, ledger: ProviderSenders, sender: str, look: Callable[[], Mapping[str, Activity]]) -> None:
        self._ledger, self._sender, self._look = ledger, sender, look
        self._has_told = False

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            try:
                self._has_told = True
                await self._ledger.tell(self._sender, self._look())
            except LedgerUnavailable as error:
                log.info("heartbeat_not_written", reason=str(error))
            await asyncio.sleep(_EVERY_S)

    async def leave(self) -> None:
        """Say goodbye, if anything was said before, without waiting long for it."""
        if not self._has_told:
            return
        try:
            async with asyncio.timeout(_LEAVE_WITHIN_S):
                await self._ledger.leave(self._sender)
        except (LedgerUnavailable, TimeoutError) as error:
            log.info("heartbeat_not_written", reason=str(error) or "no answer")
