"""Memory for the bodies of requests: what they may hold all together, and who gives way when it is full."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from services.api.serving.problems import unavailable

FREE_BYTES = 64 * 1024
"""So much of every body is not counted: how many bodies there are is bounded by the connections."""


@dataclass(eq=False)
class Held:
    """What a body holds. `slow_from_s` is when it begins to be slow, in the event loop's time; `deadline` is the time
    in which it has to come, which is over at once for a body that gives way."""

    slow_from_s: float
    counted: int = 0
    is_whole: bool = False
    is_waiting: bool = False
    gives_way: bool = False
    deadline: asyncio.Timeout | None = None

    @property
    def is_coming(self) -> bool:
        """Whether its client is who keeps its room taken."""
        return self.counted > 0 and not (self.is_whole or self.is_waiting or self.gives_way)


class Room:
    """Counts the octets that came, whatever was announced. A body for which there is no room waits; of those that are
    still coming, the one that has come longest gives way to it, once it is slow."""

    def __init__(self, most: int, patience_s: float, slow_after_s: float) -> None:
        self._left, self._patience_s, self._slow_after_s = most, patience_s, slow_after_s
        self._bodies: dict[Held, None] = {}
        self._freed = asyncio.Event()

    @contextmanager
    def body(self) -> Iterator[Held]:
        """A body, which gives its room back at the end of the block."""
        held = Held(asyncio.get_running_loop().time() + self._slow_after_s)
        self._bodies[held] = None
        try:
            yield held
        finally:
            del self._bodies[held]
            self._left += held.counted
            self._freed.set()
            self._freed = asyncio.Event()

    async def grow(self, held: Held, size: int) -> None:
        """Let a body have that many octets in all; Problem (503) where no room is made for them in time."""
        more = max(0, size - FREE_BYTES) - held.counted
        if more > self._left:
            await self._wait_for(more, held)
        held.counted += more
        self._left -= more

    async def _wait_for(self, more: int, held: Held) -> None:
        loop = asyncio.get_running_loop()
        begun_s, held.is_waiting = loop.time(), True
        try:
            async with asyncio.timeout(self._patience_s):
                while more > self._left:
                    await self._freed_within(self._make_room(loop.time()))
        except TimeoutError:
            raise _full() from None
        held.is_waiting = False
        held.slow_from_s += loop.time() - begun_s

    def _make_room(self, now_s: float) -> float | None:
        """Have the slowest give way; how long to wait for that, or until one is slow."""
        if not any(body.counted and not body.is_waiting for body in self._bodies):
            raise _full()  # whoever waited here would wait for others that wait
        slowest = min((body for body in self._bodies if body.is_coming), key=_slow_from_s, default=None)
        if slowest is None or slowest.deadline is None:
            return None
        if slowest.slow_from_s > now_s:
            return slowest.slow_from_s - now_s
        slowest.gives_way = True
        # One whose own time runs out in this very moment is on its way already.
        with suppress(RuntimeError):
            slowest.deadline.reschedule(now_s)
        return None

    async def _freed_within(self, timeout_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._freed.wait()


def _slow_from_s(body: Held) -> float:
    return body.slow_from_s


def _full() -> Exception:
    return unavailable("Too many large requests at once.")
