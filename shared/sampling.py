"""Log lines of which there may be too many: so many a second of each kind, then one that says how many more."""

import asyncio
from collections import Counter
from collections.abc import Callable

_SECOND_S = 1.0


class Sampled:
    """Which lines are written. `tell` is called with a kind and how many of it a second has left out."""

    def __init__(self, most_a_second: int, tell: Callable[[str, int], object]) -> None:
        self._most_a_second, self._tell = most_a_second, tell
        self._written: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._second: asyncio.TimerHandle | None = None

    def admits(self, kind: str) -> bool:
        """Whether the second has room for one more line of this kind."""
        if self._second is None:
            self._second = asyncio.get_running_loop().call_later(_SECOND_S, self.flush)
        self._written[kind] += 1
        if self._written[kind] <= self._most_a_second:
            return True
        self._left_out[kind] += 1
        return False

    def flush(self) -> None:
        """Begin a new second: say what the last one left out."""
        if self._second is not None:
            self._second.cancel()
            self._second = None
        for kind, more in self._left_out.items():
            self._tell(kind, more)
        self._written.clear()
        self._left_out.clear()
