"""Draining: from handing in a batch to the provider's last text, ours and the frameworks in turns."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import usage
from benchmarks.contenders import Contender
from benchmarks.figures import rotated
from benchmarks.parts import Parts

BROKER, DATABASE, STUB = SERVERS = "broker", "database", "provider's stub"
WARM_UP = 500
"""Numbers that go through before, so that connections are open and code is loaded."""
_SETTLED_S = 1.0
_SLOWEST_PER_S = 50
_STARTING_S = 60


@dataclass(frozen=True, slots=True)
class Drained:
    """One batch of one contender: the rate, and per 10,000 numbers the CPU seconds of each part, its own processes and
    the servers; the peaks of its own processes."""

    numbers_per_s: float
    cpu_s_by_part: dict[str, float]
    memory: usage.Memory

    @property
    def own_cpu_s(self) -> float:
        """Of its own processes together."""
        return sum(cpu_s for part, cpu_s in self.cpu_s_by_part.items() if part not in SERVERS)

    @property
    def cpu_s(self) -> float:
        """Of its processes, the broker and the database together."""
        return self.own_cpu_s + self.cpu_s_by_part[BROKER] + self.cpu_s_by_part[DATABASE]


def in_turns(parts: Parts, contenders: Sequence[Contender], rounds: int, count: int) -> dict[str, list[Drained]]:
    """Every contender once a round, each time in another order; only the one that is measured runs."""
    seen: dict[str, list[Drained]] = {contender.name: [] for contender in contenders}
    for turn in range(rounds):
        for contender in rotated(contenders, turn):
            seen[contender.name].append(drained(parts, contender, count))
            latest = seen[contender.name][-1]
            print(f"  round {turn + 1}: {contender.name:24} {latest.numbers_per_s:8,.0f} numbers/s", flush=True)
    return seen


def drained(parts: Parts, contender: Contender, count: int) -> Drained:
    """Start the contender, warm it up, measure one batch, end it."""
    contender.start(parts)
    try:
        _hand_in(parts, contender, WARM_UP, _STARTING_S)
        time.sleep(_SETTLED_S)
        before = _cpu_s(parts, contender)
        took_s = _hand_in(parts, contender, count, count / _SLOWEST_PER_S)
        # What is recorded and acknowledged after the last text is part of the work.
        time.sleep(_SETTLED_S)
        after = _cpu_s(parts, contender)
        by_part = {part: 10_000 * (cpu_s - before[part]) / count for part, cpu_s in after.items()}
        return Drained(
            count / took_s, by_part, usage.memory([pid for pids in contender.pids().values() for pid in pids])
        )
    finally:
        contender.stop()


def _hand_in(parts: Parts, contender: Contender, count: int, timeout_s: float) -> float:
    contender.prepare(count)
    texts = parts.provider.texts()
    began_s = time.perf_counter()
    contender.hand_in()
    parts.provider.await_texts(texts + count, timeout_s)
    return time.perf_counter() - began_s


def _cpu_s(parts: Parts, contender: Contender) -> dict[str, float]:
    own = {part: usage.cpu_s(pids) for part, pids in contender.pids().items()}
    return {
        **own,
        BROKER: parts.broker.cpu_s(),
        DATABASE: parts.database.cpu_s(),
        STUB: usage.cpu_s([parts.provider.pid]),
    }
