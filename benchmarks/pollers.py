"""Pollers: draining a batch while nobody asks how far it is, and while a thousand clients do."""

import subprocess
import sys
from dataclasses import dataclass, field

from benchmarks import drain
from benchmarks.contenders import Ours
from benchmarks.figures import rotated
from benchmarks.parts import Parts
from benchmarks.servers import running_redis

CLIENTS, EVERY_S = 1_000, 5.0
NUMBERS = 60_000
"""Of a batch: about ten seconds."""


@dataclass(frozen=True, slots=True)
class Polled:
    """Numbers per second without and with pollers, and the pollers' answers per second; a figure for each round."""

    alone: list[float]
    beside: list[float]
    answers_per_s: list[float]


@dataclass
class Watched(Ours):
    """Ours with Redis, and so many clients that ask for the batch's status."""

    clients: int = 0
    answers_per_s: float = field(default=0, init=False)
    """Known when all has ended."""
    _asking: subprocess.Popen[str] | None = field(default=None, init=False)

    def start(self, parts: Parts) -> None:
        super().start(parts)
        if self.clients:
            command = [sys.executable, "-m", "benchmarks.polling", self.api_url, str(self.clients), str(EVERY_S)]
            self._asking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self._said(self._asking) == "ready\n"

    def hand_in(self) -> None:
        super().hand_in()
        if self._asking is not None and self._asking.stdin is not None:
            self._asking.stdin.write(f"{self.batch_id}\n")
            self._asking.stdin.flush()

    def stop(self) -> None:
        if self._asking is not None and self._asking.stdin is not None:
            self._asking.stdin.close()
            said = self._said(self._asking)
            assert self._asking.wait() == 0
            self.answers_per_s = float(said)
        super().stop()

    @staticmethod
    def _said(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline()


def measured(parts: Parts, rounds: int) -> Polled:
    """Without and with pollers in turns."""
    seen = Polled([], [], [])
    with running_redis(parts.folder) as redis_url:
        everywhere = {"SMS_REDIS_URL": redis_url, "SMS_API_MAX_CONNECTIONS": str(3 * CLIENTS)}
        for turn in range(rounds):
            for clients in rotated((0, CLIENTS), turn):
                ours = Watched(f"{clients} pollers", "messages", {}, settings=everywhere, clients=clients)
                rate = drain.drained(parts, ours, NUMBERS).numbers_per_s
                (seen.beside if clients else seen.alone).append(rate)
                if clients:
                    seen.answers_per_s.append(ours.answers_per_s)
            alone, beside, answers = seen.alone[-1], seen.beside[-1], seen.answers_per_s[-1]
            print(
                f"  round {turn + 1}: {alone:,.0f} numbers/s, {beside:,.0f} beside {answers:,.0f} answers/s", flush=True
            )
    return seen
