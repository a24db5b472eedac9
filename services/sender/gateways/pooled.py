"""The connection pool that senders call the provider with."""

import aiohttp

from services.sender.gateways.posting import Answer
from shared.outcome import CallResult, Verdict

_LONGEST_ANSWER = 512 * 1024
# Below the idle timeout of common servers: a connection that they are just closing loses the request that reuses it.
_KEEPALIVE_S = 4


class AiohttpPoster:
    """aiohttp's connection pool; how many calls are in flight is the prefetch's to bound."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the connection pool."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
            # Shorter to connect (and to resolve the name) than in all, so that a connect that hangs, which is certainly
            # not sent, is told from an answer that does not come.
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, connect=self._timeout_s / 2),
            headers={"Content-Type": "application/json"},
        )

    async def close(self) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    async def post(self, body: bytes) -> Answer | CallResult:
        """Failing to connect is certainly not sent; losing the answer is unclear."""
        if self._session is None:
            raise RuntimeError("open the poster before posting")
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                return Answer(response.status, response.headers, await _read_at_most(response.content, _LONGEST_ANSWER))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            reason = f"Could not connect to the provider: {type(error).__name__}"
            return CallResult(Verdict.NOT_SENT, "connect_failed", reason)
        except TimeoutError:
            reason = f"The provider did not answer within {self._timeout_s:g} s: it may have sent the text"
            return CallResult(Verdict.UNCLEAR, "timeout", reason)
        except (aiohttp.ClientError, OSError) as error:
            reason = f"The connection was lost before the answer came ({type(error).__name__}): it may have been sent"
            return CallResult(Verdict.UNCLEAR, "connection_lost", reason)


async def _read_at_most(stream: aiohttp.StreamReader, limit: int) -> bytes:
    answer = b""
    while len(answer) < limit and (chunk := await stream.read(limit - len(answer))):
        answer += chunk
    return answer
