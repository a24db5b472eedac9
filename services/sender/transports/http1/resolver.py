"""Looking up the addresses of a provider's host."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from aiohappyeyeballs import AddrInfoType

_GOOD_FOR_S = 10.0

Addresses = Sequence[AddrInfoType]
Resolve = Callable[[str, int], Coroutine[Any, Any, Addresses]]


async def resolve(host: str, port: int) -> Addresses:
    """The addresses of a host, as the system has them; raises OSError, or ValueError for a name that can be none."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class KnownAddresses:
    """The addresses of one host. Connections that are made at about the same time share one look-up; it is made again
    after a few seconds, or once told to `forget`."""

    def __init__(self, host: str, port: int, resolve: Resolve = resolve, good_for_s: float = _GOOD_FOR_S) -> None:
        self._host, self._port, self._resolve = host, port, resolve
        self._good_for_s, self._good_until_s = good_for_s, 0.0
        self._lookup: asyncio.Task[Addresses] | None = None
        self._turn = 0

    async def in_turn(self) -> Addresses:
        """All addresses, each time another one first, so that not all connections go to the same; raises what `resolve`
        raises."""
        # Shielded: others may wait for it too.
        addresses = await asyncio.shield(self._current_lookup())
        self._turn = (self._turn + 1) % len(addresses)
        return [*addresses[self._turn :], *addresses[: self._turn]]

    def forget(self) -> None:
        """Look the name up again for the next connection; one that is under way is new enough."""
        if self._lookup is not None and self._lookup.done():
            self._lookup = None

    def close(self) -> None:
        """End a look-up that is under way."""
        if self._lookup is not None:
            self._lookup.cancel()

    def _current_lookup(self) -> asyncio.Task[Addresses]:
        now_s = time.monotonic()
        if self._lookup is None or (self._lookup.done() and now_s >= self._good_until_s):
            self._good_until_s = now_s + self._good_for_s
            self._lookup = asyncio.create_task(self._resolve(self._host, self._port))
            self._lookup.add_done_callback(_note_failure)
        return self._lookup


def _note_failure(lookup: asyncio.Task[Addresses]) -> None:
    """Keep asyncio from complaining of a failure that nobody waited for any more."""
    if not lookup.cancelled():
        lookup.exception()
