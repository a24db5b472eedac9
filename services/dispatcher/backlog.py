"""What waits, as gauges: the messages in each queue, and for how long the oldest number has been due."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.dispatcher import metrics
from shared.clock import now_ms
from shared.errors import LedgerUnavailable
from shared.ledger.feeding import FeedingLedger
from shared.topology import Lane

_TIMEOUT_S = 10

Depth = Callable[[str], Awaitable[int | None]]
log = structlog.get_logger()


class Backlog:
    """Looks again and again. What cannot be asked has no value at all then: neither an old one nor 0 would be true."""

    def __init__(self, depth: Depth, queues: Sequence[str], ledger: FeedingLedger, every_s: float) -> None:
        self._depth, self._queues, self._ledger, self._every_s = depth, queues, ledger, every_s

    async def run(self) -> None:
        """Look, and again, until cancelled; a broker or a ledger that is away ends nothing."""
        while True:
            await self._look_at_queues()
            await self._look_at_ledger()
            await asyncio.sleep(self._every_s)

    async def _look_at_queues(self) -> None:
        depths: dict[str, int] = {}
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                for queue in self._queues:
                    if (depth := await self._depth(queue)) is not None:
                        depths[queue] = depth
        except (TimeoutError, ConnectionError) as error:
            log.warning("queues_not_counted", reason=str(error) or type(error).__name__)
        metrics.QUEUE_MESSAGES.clear()
        for queue, depth in depths.items():
            metrics.QUEUE_MESSAGES.labels(queue).set(depth)

    async def _look_at_ledger(self) -> None:
        now = now_ms()
        due_ms: dict[str, int] | None = None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                due_ms = await self._ledger.oldest_due_ms(now)
        except (TimeoutError, LedgerUnavailable) as error:
            log.warning("ledger_not_asked", reason=str(error) or type(error).__name__)
        metrics.OLDEST_UNSENT.clear()
        if due_ms is not None:
            for lane in Lane:
                metrics.OLDEST_UNSENT.labels(lane).set((now - due_ms.get(lane, now)) / 1000)
