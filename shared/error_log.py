"""The error log: a line for each message that ended badly, in the log of the service that ended it."""

import structlog

from shared.domain.message import EndedMessage
from shared.domain.outcome import Outcome
from shared.domain.phone import mask
from shared.domain.states import State
from shared.sampling import Sampled

ENDED_BADLY = frozenset({State.FAILED, State.UNKNOWN, State.EXPIRED})
_MOST_A_SECOND = 100

log = structlog.get_logger()


class ErrorLog:
    """Writes at most a hundred lines a second of one code; then one line says how many more there were."""

    def __init__(self) -> None:
        self._lines = Sampled(
            _MOST_A_SECOND, lambda code, more: log.warning("message_failed_more", code=code, more=more)
        )

    def note(self, message: EndedMessage, outcome: Outcome) -> None:
        """Write a line, where the message ended badly and the second has room for it."""
        if outcome.state not in ENDED_BADLY:
            return
        code = outcome.code or outcome.state.value
        if not self._lines.admits(code):
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
        self._lines.flush()
