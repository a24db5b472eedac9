"""Waiting for a ledger that cannot be reached: nothing is given up, and meanwhile deliveries stay unacked."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from prometheus_client import Counter

from shared.errors import LedgerUnavailable

_PAUSE_S = 0.5
_WAITS = Counter("sms_ledger_waits_total", "Times that a service had to wait for the ledger")

Result = TypeVar("Result")
log = structlog.get_logger()


async def when_ledger_answers(ask: Callable[[], Awaitable[Result]]) -> Result:
    """Ask, and again until the ledger can be reached."""
    while True:
        try:
            return await ask()
        except LedgerUnavailable as error:
            _WAITS.inc()
            log.warning("waiting_for_ledger", reason=str(error))
            await asyncio.sleep(_PAUSE_S)
