"""How running batches stand, written to Redis once a second: those who poll do not ask the ledger then."""

import asyncio

import structlog

from services.dispatcher import metrics
from shared.cache import Cache
from shared.clock import now_ms
from shared.errors import LedgerUnavailable
from shared.ledger.reading import ReadingLedger
from shared.statuses import Statuses

_EVERY_S = 1.0
_TIMEOUT_S = 5.0
_TURN_KEY, _TURN_TTL_MS = "sms:status-writer", 3000
_MOST = 500
"""Running batches, the newest; of older ones the ledger is asked."""

log = structlog.get_logger()


class StatusWriter:
    """One dispatcher of all has the turn, and keeps it until it ends: more of them would write the same again.

    The turn is Redis's word and no proof. Two that hold it write twice, none writes nothing, and neither does harm.
    """

    def __init__(self, cache: Cache, ledger: ReadingLedger, dispatcher: str) -> None:
        self._cache, self._ledger, self._name = cache, ledger, dispatcher.encode()
        self._statuses = Statuses(cache)
        self._running: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Write, and again, until cancelled; a ledger or a Redis that is away ends nothing."""
        while True:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._write()
            except (TimeoutError, LedgerUnavailable) as error:
                log.warning("statuses_not_written", reason=str(error) or type(error).__name__)
            await asyncio.sleep(_EVERY_S)

    async def _write(self) -> None:
        if not await self._has_turn():
            self._running = frozenset()
            return
        as_of_ms = now_ms()
        running = await self._ledger.running(_MOST)
        # What ran a second ago and runs no more is written once more, as it ended.
        left = self._running.difference(view.batch_id for view in running)
        ended = await self._ledger.these(sorted(left)) if left else []
        await self._statuses.put([*running, *ended], as_of_ms)
        metrics.STATUSES.inc(len(running) + len(ended))
        self._running = frozenset(view.batch_id for view in running)

    async def _has_turn(self) -> bool:
        holder = await self._cache.put_if_absent(_TURN_KEY, self._name, _TURN_TTL_MS)
        if holder == self._name:
            await self._cache.put(_TURN_KEY, self._name, _TURN_TTL_MS)
        return holder in (None, self._name) and not self._cache.is_away
