"""Posting a body to a provider: one call, and what is known where no answer came."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from shared.domain.outcome import CallResult, Verdict


class Answer(NamedTuple):
    """An HTTP answer; `body` is its first 512 KiB, and of a 2xx all of it. `headers` are told apart without regard to
    case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Poster(Protocol):
    """One provider's address, and the connections to it."""

    async def open(self) -> None:
        """Make ready to post."""

    async def post(self, body: bytes) -> Answer | CallResult:
        """Post JSON once, without following a redirect; the verdict where there is no answer. Raises nothing."""

    async def close(self) -> None:
        """Close the connections."""


def not_connected(error: Exception) -> CallResult:
    """Not a byte of the request went out. Only its class is told: its words may have the URL."""
    return CallResult(Verdict.NOT_SENT, "connect_failed", f"Could not connect to the provider: {type(error).__name__}")


def not_answered(timeout_s: float) -> CallResult:
    """The request went out, and its time is over."""
    reason = f"The provider did not answer within {timeout_s:g} s: it may have sent the text"
    return CallResult(Verdict.UNCLEAR, "timeout", reason)


def lost(how: str) -> CallResult:
    """The request went out, or a part of it, and the connection ended before the whole answer came."""
    reason = f"The connection was lost before the answer came ({how}): it may have been sent"
    return CallResult(Verdict.UNCLEAR, "connection_lost", reason)


def not_understood() -> CallResult:
    """What came is no HTTP answer, or has no end."""
    reason = "The provider's answer is not HTTP, or has no end: it may have sent the text"
    return CallResult(Verdict.UNCLEAR, "answer_not_understood", reason)
