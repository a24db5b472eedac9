"""Waiting for a ledger that cannot be reached: nothing is given up, and meanwhile deliveries stay unacked."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import structlog
from prometheus_client import Counter

from shared.errors import LedgerUnavailable

_PAUSE_S = 0.5
_WAITS = Counter("sms_ledger_waits_total", "Times that a service had to wait for the ledger")

Result = TypeVar("Result")
log = structlog.get_logger()

_reasons: dict[object, str] = {}
"""Of each that waits now: one that only reads may be answered while another waits to write."""


async def when_ledger_answers(ask: Callable[[], Awaitable[Result]], says: str = "waiting_for_ledger") -> Result:
    """Ask, and again until the ledger can be reached; `says` is the log's event meanwhile."""
    with waiting() as waits_for:
        while True:
            try:
                return await ask()
            except LedgerUnavailable as error:
                _WAITS.inc()
                waits_for(str(error))
                log.warning(says, reason=str(error))
                await asyncio.sleep(_PAUSE_S)


@contextmanager
def waiting() -> Iterator[Callable[[str], None]]:
    """To say why one waits for the ledger; until the end of the block, `check` tells it."""
    key = object()
    try:
        yield partial(_reasons.__setitem__, key)
    finally:
        _reasons.pop(key, None)


def reason() -> str | None:
    """What somebody waits for; None while nobody does."""
    return next(iter(_reasons.values()), None)


def check() -> bool | str:
    """For `/readyz`: True while nobody waits for the ledger, or what for."""
    return reason() or True
