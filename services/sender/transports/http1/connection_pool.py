"""The connections that wait for a next call."""

import asyncio
import time

from services.sender.transports import KEEPALIVE_S
from services.sender.transports.http1.connection import Connection


class IdleConnections:
    """Lends the one that was used last, so that those that are not needed grow old; none is used beyond its time."""

    def __init__(self, keepalive_s: float = KEEPALIVE_S) -> None:
        self._keepalive_s = keepalive_s
        self._idle_since_s: dict[Connection, float] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    def take(self) -> Connection | None:
        """An open connection for one call, or None; bring it back by `put`."""
        oldest_s = time.monotonic() - self._keepalive_s
        while self._idle_since_s:
            connection, since_s = self._idle_since_s.popitem()
            if since_s > oldest_s and connection.is_open:
                return connection
            connection.abort()
        return None

    def put(self, connection: Connection) -> None:
        """Take a connection back after a call, if it can be used for another one."""
        if self._is_closed or not connection.is_open:
            connection.abort()
            return
        self._idle_since_s[connection] = time.monotonic()
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._keepalive_s, self._close_old)

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is gone, whether it was idle or not."""
        self._idle_since_s.pop(connection, None)

    def close(self) -> None:
        """Close them all; those that come back later are closed at once."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while self._idle_since_s:
            self._idle_since_s.popitem()[0].abort()

    def _close_old(self) -> None:
        self._sweep = None
        oldest_s = time.monotonic() - self._keepalive_s
        for connection in [each for each, since_s in self._idle_since_s.items() if since_s <= oldest_s]:
            del self._idle_since_s[connection]
            connection.abort()
        if self._idle_since_s:
            self._sweep = asyncio.get_running_loop().call_later(self._keepalive_s, self._close_old)
