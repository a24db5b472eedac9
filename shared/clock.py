"""The time, as the ledger and the messages keep it."""

import time
from dataclasses import dataclass

_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Nobody sets it, and where there is CLOCK_BOOTTIME it goes on while the machine sleeps."""

_began_at_ns: int | None = None


def now_ms() -> int:
    """Milliseconds since the epoch: by the ledger's clock once `follow` was told of it, before that by ours."""
    now_ns = time.time_ns() if _began_at_ns is None else uptime_ns() + _began_at_ns
    return now_ns // 1_000_000


def follow(began_at_ns: int) -> None:
    """Have `now_ms` count from there: when it was, by the ledger's clock, as this machine's uptime began."""
    global _began_at_ns
    _began_at_ns = began_at_ns


def uptime_ns() -> int:
    """How long this machine has been up, by a clock that does not jump."""
    return time.clock_gettime_ns(_UPTIME)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a clock says of when the uptime began: between these, for it was read at a moment between two of ours."""

    earliest_ns: int
    latest_ns: int

    @classmethod
    def of(cls, before_ns: int, clock_ns: int, after_ns: int) -> "Reading":
        """A clock's time, read between two looks at the uptime."""
        return cls(clock_ns - after_ns, clock_ns - before_ns)

    def ahead_ns(self, began_at_ns: int) -> int:
        """By how much at least the clock that was read is ahead of the other; negative behind, 0 where they may agree.

        A slow answer, or a process that stood still meanwhile, is no evidence.
        """
        return min(max(began_at_ns, self.earliest_ns), self.latest_ns) - began_at_ns

    @property
    def middle_ns(self) -> int:
        return (self.earliest_ns + self.latest_ns) // 2


def read_machine() -> Reading:
    """This machine's clock, which somebody may set at any time."""
    before_ns, clock_ns, after_ns = uptime_ns(), time.time_ns(), uptime_ns()
    return Reading.of(before_ns, clock_ns, after_ns)
