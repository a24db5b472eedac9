"""A random killer: what happens to whom, and when, follows from a seed."""

import random
import signal
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from tests.support.processes import ServiceProcess

_KINDS = ("kill", "freeze", "stop")
_PAUSE_S, _DOWN_S = (0.5, 4.0), (0.1, 1.5)
_STOP_TIMEOUT_S, _READY_TIMEOUT_S = 60, 20


class Victim(Protocol):
    """What can be done to a broker, and to one of our processes."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@dataclass
class Service:
    """One of our processes as a victim; `flaws` are ends of its own.

    `harmed` are the ids of those whose calls were cut off: killed, frozen, or stopped and not done within the deadline.
    """

    process: ServiceProcess
    harmed: set[int] = field(default_factory=set)
    flaws: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.process.start(wait=False)
        # To be worth a kill it has to be at work; but for its broker it does not wait for ever.
        with suppress(AssertionError):
            self.process.await_ready(_READY_TIMEOUT_S)

    def stop(self) -> None:
        self.look()
        said_before = len(self.process.log)
        # -SIGTERM: it was told before it could listen.
        if (status := self.process.stop(_STOP_TIMEOUT_S)) not in (0, -signal.SIGTERM):
            self.flaws.append(f"{self.process.module} stopped with status {status}: {self.process.log[-2000:]}")
        if "drain_deadline_passed" in self.process.log[said_before:]:
            self.harmed.add(self.process.pid)

    def kill(self) -> None:
        self.look()
        self.harmed.add(self.process.pid)
        self.process.kill()

    def freeze(self) -> None:
        self.look()
        self.harmed.add(self.process.pid)
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.signal(signal.SIGCONT)

    def look(self) -> None:
        """Note where it has ended without being told."""
        try:
            status = self.process.wait(0)
        except subprocess.TimeoutExpired:
            return
        self.flaws.append(f"{self.process.module} ended by itself with status {status}: {self.process.log[-2000:]}")
        self.process.start(wait=False)


@dataclass(frozen=True)
class ReplayAction:
    """What one victim has to go through; the same seed, the same fate."""

    seed: str
    faults: int
    longest_freeze_s: float

    def befall(self, victim: Victim) -> list[str]:
        """Do it all, every kind in turn in an order of chance, and leave the victim started; what was done."""
        chance = random.Random(self.seed)
        kinds = chance.sample(_KINDS, k=len(_KINDS))
        return [self._one(victim, kinds[number % len(kinds)], chance) for number in range(self.faults)]

    def _one(self, victim: Victim, kind: str, chance: random.Random) -> str:
        time.sleep(chance.uniform(*_PAUSE_S))
        if kind == "freeze":
            victim.freeze()
            time.sleep(chance.uniform(0.5, self.longest_freeze_s))
            victim.thaw()
        else:
            getattr(victim, kind)()
            time.sleep(chance.uniform(*_DOWN_S))
            victim.start()
        return kind


class Killer(AbstractContextManager["Killer"]):
    """Has every victim meet its fate, each in a thread; leaving the block waits until all of them have."""

    def __init__(self, fates: list[tuple[Victim, ReplayAction]]) -> None:
        self._pool = ThreadPoolExecutor(len(fates))
        self._ends: list[Future[list[str]]] = [self._pool.submit(fate.befall, victim) for victim, fate in fates]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        if error is None:
            for end in self._ends:
                end.result()
