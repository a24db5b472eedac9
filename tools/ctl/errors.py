"""What smsctl tells the person at the terminal when something does not work."""

from collections.abc import Sequence
from typing import NamedTuple

from shared.errors import SmsBatchError


class CtlError(SmsBatchError):
    """A line for the terminal; the process ends with `exit_status`."""

    exit_status = 1


class UsageError(CtlError):
    """The options do not fit together, or the file cannot be used: nothing was sent."""

    exit_status = 2


class Interrupted(CtlError):
    """The person stopped watching; what was accepted goes on."""

    exit_status = 130


class Unreachable(CtlError):
    """There was no answer from the api: a request may or may not have arrived."""


class MaybePosted(CtlError):
    """Some or all of the batches may be with the api; under `key` the same ones can be posted again, and count once."""

    def __init__(self, sentence: str, key: str) -> None:
        super().__init__(sentence)
        self.key = key


class Flaw(NamedTuple):
    """What the api found wrong, and where in the request (a JSON pointer)."""

    pointer: str
    detail: str


class Refused(CtlError):
    """The api answered with an error; `flaws` are the places that it named, `retry_after_s` the pause it asked for."""

    def __init__(
        self, sentence: str, status: int, flaws: Sequence[Flaw] = (), retry_after_s: float | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.flaws, self.retry_after_s = status, flaws, retry_after_s

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed a little later."""
        # A conflict passes only where the api says when.
        return self.status in (429, 502, 503, 504) or (self.status == 409 and self.retry_after_s is not None)
