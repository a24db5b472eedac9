"""A framework's fan-out as processes: started as its users start it, one dispatcher and two senders."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

from benchmarks.competitors import Framework
from benchmarks.parts import Parts

_STOP_TIMEOUT_S = 15


class FanOut:
    """A contender; what its processes say is in `<name>.log`."""

    def __init__(self, framework: Framework) -> None:
        self._framework = framework
        self.name = framework.name

    def start(self, parts: Parts) -> None:
        environment = {
            **os.environ,
            "BENCHMARK_AMQP_URL": parts.broker.url,
            "BENCHMARK_PROVIDER_URL": parts.provider.url("messages"),
        }
        with (parts.folder / f"{self.name}.log").open("ab") as log:
            self._front = _started_front(self._framework.module, environment, log)
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

    def pids(self) -> Mapping[str, Sequence[int]]:
        return {"workers": [process.pid for process in self._workers]}

    def stop(self) -> None:
        assert self._front.stdin is not None
        self._front.stdin.close()
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
        self._workers = []  # by now their ids may be those of others
        self._front.kill()
        self._front.wait()

    def _say(self, line: str) -> None:
        assert self._front.stdin is not None
        self._front.stdin.write(line + "\n")
        self._front.stdin.flush()

    def _hear(self, word: str) -> None:
        assert self._front.stdout is not None
        said = self._front.stdout.readline().strip()
        assert said == word, f"{self.name}: {said!r} instead of {word!r}"


def _started_front(module: str, environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.competitors.hand_in", module],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
