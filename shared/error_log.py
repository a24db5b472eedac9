"""The error log: a line for each message that ended badly, in the log of the service that ended it."""

import asyncio
from collections import Counter
from typing import NamedTuple

import structlog

from shared.outcome import Outcome
from shared.phone import mask
from shared.states import State

ENDED_BADLY = frozenset({State.FAILED, State.UNKNOWN, State.EXPIRED})
_MOST_A_SECOND = 100
_SECOND_S = 1.0

log = structlog.get_logger()


class EndedMessage(NamedTuple):
    """A message whose outcome is recorded; `attempt` is how many there were."""

    batch_id: str
    row: int
    recipient: str
    provider: str
    attempt: int


class ErrorLog:
    """Writes at most a hundred lines a second of one code; then one line says how many more there were."""

    def __init__(self) -> None:
        self._written: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._second: asyncio.TimerHandle | None = None

    def note(self, message: EndedMessage, outcome: Outcome) -> None:
        """Write a line, where the message ended badly and the second has room for it."""
        if outcome.state not in ENDED_BADLY:
            return
        code = outcome.code or outcome.state.value
        if self._second is None:
            self._second = asyncio.get_running_loop().call_later(_SECOND_S, self.flush)
        self._written[code] += 1
        if self._written[code] > _MOST_A_SECOND:
            self._left_out[code] += 1
            return
        log.warning(
            "message_failed",
            batch_id=message.batch_id,
            row=message.row,
            recipient=mask(message.recipient),
            provider=message.provider,
            attempt=message.attempt,
            state=outcome.state.value,
            code=code,
            reason=outcome.reason,
        )

    def flush(self) -> None:
        """Begin a new second: say what the last one left out."""
        if self._second is not None:
            self._second.cancel()
            self._second = None
        for code, more in self._left_out.items():
            log.warning("message_failed_more", code=code, more=more)
        self._written.clear()
        self._left_out.clear()
