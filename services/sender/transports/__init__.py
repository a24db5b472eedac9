"""HTTP as providers need it: one call, and what is known where no answer came.

`Http1Transport` is the fast one, with little CPU for each call. `AiohttpTransport` is aiohttp's client: it reads what
is compressed, goes through a proxy, and shows a client certificate.
"""

import time
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

import structlog

from shared.domain.outcome import CallResult, Verdict

LONGEST_BODY = 512 * 1024
"""Enough for the results of a hundred messages, whatever else a provider says of each."""
KEEPALIVE_S = 4.0
"""Below the idle timeout of common servers: a connection that they are just closing loses the request that reuses
it."""
CLOSED = "closed by the provider"
_SAID_EVERY_S = 10

log = structlog.get_logger()


class HttpRequest(NamedTuple):
    """A request; `user:password@` in the URL becomes Basic authentication. Host, length and what the transport can read
    are the transport's to say; of the headers User-Agent and Accept have defaults."""

    method: Literal["GET", "POST", "PUT"]
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class HttpAnswer(NamedTuple):
    """An HTTP answer; `body` is its first 512 KiB, and of a 2xx all of it. `headers` are told apart without regard to
    case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpTransport(Protocol):
    """Calls providers over connections that are kept, as many at once as there are callers.

    Within a time in all; half of it for the connection (and the name), so that a connect that hangs, which is certainly
    not sent, is told from an answer that does not come.
    """

    async def open(self) -> None:
        """Make ready to call."""

    async def send(self, request: HttpRequest) -> HttpAnswer | CallResult:
        """Call once, never again by itself, and follow no redirect; where there is no answer, `not_connected`,
        `not_answered`, `lost` or `not_http`. ValueError for a URL or a header that can be none; raises nothing else."""

    async def close(self) -> None:
        """Close the connections that wait; calls in flight are the caller's to end."""


def not_connected(error: BaseException) -> CallResult:
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


def not_http() -> CallResult:
    """What came is no HTTP answer, or has no end."""
    reason = "The provider's answer is not HTTP, or has no end: it may have sent the text"
    return CallResult(Verdict.UNCLEAR, "answer_not_understood", reason)


class UnreachableLog:
    """Says where nobody was reached, now and then; a message's own reason, which clients see, does not name it."""

    def __init__(self) -> None:
        self._silent_until_s = 0.0

    def say(self, server: str, error: BaseException) -> None:
        """A line for the log, unless there was one a moment ago."""
        now_s = time.monotonic()
        if now_s >= self._silent_until_s:
            log.warning("provider_unreachable", server=server, reason=type(error).__name__)
            self._silent_until_s = now_s + _SAID_EVERY_S
