"""Who drains a batch: our services, or a framework's dispatcher and two senders."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from benchmarks.client import Client, batch_body
from benchmarks.competitors import FRAMEWORKS, Framework
from benchmarks.parts import Parts
from services.sender.settings import SenderSettings

PER_CALL = 100
OURS, OURS_MANY = "sms-batch", f"sms-batch, {PER_CALL} per call"
_STOP_TIMEOUT_S = 15


class Contender(Protocol):
    """`start` returns when it can be handed a batch; `pids` are its own processes, without broker and database."""

    name: str

    def start(self, parts: Parts) -> None:
        """Start its processes."""

    def prepare(self, count: int) -> None:
        """Make a batch ready to be handed in, which nobody is to wait for."""

    def hand_in(self) -> None:
        """Hand in the batch; returns when it is accepted."""

    def pids(self) -> list[int]:
        """Its processes: whoever takes the batch, the dispatcher, the senders."""

    def stop(self) -> None:
        """End its processes."""


@dataclass
class Ours:
    """api, dispatcher and senders, each number in the ledger; `sender_settings` differ from the defaults."""

    name: str
    provider_path: str
    sender_settings: dict[str, str]
    senders: int = 2

    def start(self, parts: Parts) -> None:
        settings = {"SMS_PROVIDER_URL": parts.provider.url(self.provider_path), **self.sender_settings}
        self._processes = [parts.start("services.api"), parts.start("services.dispatcher")]
        self._processes += [parts.start("services.sender", **settings) for _ in range(self.senders)]
        self._client = Client(self._processes[0].url)
        self._last = ("", 0)

    def prepare(self, count: int) -> None:
        self._count, self._body = count, batch_body(count)

    def hand_in(self) -> None:
        self._last = self._client.post(self._body), self._count

    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def stop(self) -> None:
        batch_id, count = self._last
        self._client.await_count(batch_id, "sent", count, _STOP_TIMEOUT_S)
        self._client.close()
        for process in self._processes:
            process.stop()


class OfFramework:
    """A framework's fan-out, started as its users start it: one dispatcher process and two sender processes."""

    def __init__(self, framework: Framework) -> None:
        self._framework = framework
        self.name = framework.name

    def start(self, parts: Parts) -> None:
        environment = {
            **os.environ,
            "BENCHMARK_AMQP_URL": parts.broker.url,
            "BENCHMARK_PROVIDER_URL": parts.provider.url("messages"),
        }
        with ExitStack() as stack:
            log = stack.enter_context((parts.folder / f"{self.name}.log").open("ab"))
            self._handing_in = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.competitors.hand_in", self._framework.module],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
            )
            self._workers = [
                # In a session of its own, so that its children end with it.
                subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
                for command in self._framework.commands()
            ]
        parts.stack.callback(self._kill)
        self._hear("ready")

    def prepare(self, count: int) -> None:
        self._say(str(count))
        self._hear("prepared")

    def hand_in(self) -> None:
        self._say("go")
        self._hear("done")

    def pids(self) -> list[int]:
        return [process.pid for process in self._workers]

    def stop(self) -> None:
        assert self._handing_in.stdin is not None
        self._handing_in.stdin.close()
        for process in self._workers:
            process.terminate()
        for process in self._workers:
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue
        self._kill()

    def _kill(self) -> None:
        for process in self._workers:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self._workers:
            process.wait()
        self._handing_in.kill()
        self._handing_in.wait()

    def _say(self, line: str) -> None:
        assert self._handing_in.stdin is not None
        self._handing_in.stdin.write(line + "\n")
        self._handing_in.stdin.flush()

    def _hear(self, word: str) -> None:
        assert self._handing_in.stdout is not None
        said = self._handing_in.stdout.readline().strip()
        assert said == word, f"{self.name}: {said!r} instead of {word!r}"


def contenders() -> Sequence[Contender]:
    """Ours with one number per call and with a hundred, and every framework."""
    ours: list[Contender] = [Ours(OURS, "messages", {})]
    if "provider_max_recipients" in SenderSettings.model_fields:
        many = {"SMS_PROVIDER_MAX_RECIPIENTS": str(PER_CALL)}
        ours.append(Ours(OURS_MANY, "batches", many))
    return [*ours, *(OfFramework(framework) for framework in FRAMEWORKS)]
