"""Posts to one provider over connections that are kept."""

import asyncio

import structlog

from services.sender.gateways.http1.address import Address
from services.sender.gateways.http1.connection import Connection
from services.sender.gateways.http1.connection_pool import IdleConnections
from services.sender.gateways.http1.dialing import Dialer, trusting_the_systems_authorities
from services.sender.gateways.http1.resolver import KnownAddresses
from services.sender.gateways.posting import Answer, not_answered, not_connected
from shared.domain.outcome import CallResult

_SAID_EVERY_S = 10

log = structlog.get_logger()


class HttpPoster:
    """A call takes an idle connection or makes one; how many are in flight is the prefetch's to bound.

    Within `timeout_s` in all; half of it for the connection (and the name), so that a connect that hangs, which is
    certainly not sent, is told from an answer that does not come.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._address, self._timeout_s = Address.of(url), timeout_s
        self._too_late = not_answered(timeout_s)
        self._idle = IdleConnections()
        self._dialer: Dialer | None = None
        self._silent_until_s = 0.0

    async def open(self) -> None:
        """Read the certificates; connections are made when they are needed."""
        host, port = self._address.host, self._address.port
        tls = trusting_the_systems_authorities() if self._address.is_https else None
        self._dialer = Dialer(host, KnownAddresses(host, port), tls)

    async def close(self) -> None:
        """Close the connections that wait; calls in flight are the caller's to end."""
        self._idle.close()
        if self._dialer is not None:
            self._dialer.close()
        await asyncio.sleep(0)  # closed transports let go of their sockets in the loop's next round

    async def post(self, body: bytes) -> Answer | CallResult:
        """Failing to connect is certainly not sent; losing the answer is unclear. Never tries again by itself."""
        if self._dialer is None:
            raise RuntimeError("open the poster before posting")
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            connection = self._idle.take() or await self._connected(self._dialer)
        except (OSError, ValueError, RuntimeError) as error:
            self._say_unreachable(error)
            return not_connected(error)
        result = await connection.call(self._address.request(body), deadline_s, self._too_late)
        self._idle.put(connection)
        return result

    def _say_unreachable(self, error: Exception) -> None:
        """Log where nobody was reached, now and then; a message's own reason, which clients see, does not name it."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._silent_until_s:
            log.warning("provider_unreachable", server=self._address.place, reason=type(error).__name__)
            self._silent_until_s = now_s + _SAID_EVERY_S

    async def _connected(self, dialer: Dialer) -> Connection:
        connection = Connection(self._idle.discard)
        async with asyncio.timeout(self._timeout_s / 2):
            await dialer.dial(connection)
        return connection
