"""The services as real processes: started with settings, waited for, killed, stopped."""

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import requests

from tests.support.forking.process import ForkedProcess, fork, outside_environment
from tools.node.ports import free_ports

START_TIMEOUT_S = 60
Result = TypeVar("Result")


def eventually(look: Callable[[], Result], timeout_s: float = 30, pause_s: float = 0.05) -> Result:
    """Look until there is something to see; AssertionError with the last look after the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s; last seen: {seen!r}")
        time.sleep(pause_s)


def peak_memory_mib(pid: int) -> float:
    """The most memory that a running process has held (VmHWM); ValueError for one that has just ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    (peak_kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak_kib) / 1024


class ServiceProcess:
    """One service as its own process, with its log in a file."""

    def __init__(self, module: str, settings: Mapping[str, str], folder: Path) -> None:
        self.module, self._settings = module, settings
        self.log_file = folder / f"{module}-{free_ports(1)[0]}.log"
        self._process: ForkedProcess | None = None
        self.port = free_ports(1)[0]
        self._said = "never asked"

    @property
    def url(self) -> str:
        """Where it serves; for the workers, health and metrics."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id, of the latest start."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def start(self, *, wait: bool = True) -> "ServiceProcess":
        """Start it, and wait until it says that it is ready."""
        ports = {
            "SMS_API_PORT": str(self.port),
            "SMS_HEALTH_PORT": str(self.port),
            "SMS_SIMULATOR_PORT": str(self.port),
        }
        environment = outside_environment(**{**self._settings, **ports})
        with self.log_file.open("ab") as log:
            self._process = fork(self.module, environment=environment, stdout=log, stderr=log)
        if wait:
            self.await_ready()
        return self

    def await_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it says that it is ready; AssertionError with its last answer and the end of its log."""
        try:
            eventually(self.is_ready, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{self.module} not ready, {self._said} ({error}): {self.log[-2000:]}") from None

    def is_ready(self) -> bool:
        """Whether readyz (healthz, where there is none) answers 200."""
        assert self._process is not None
        assert self._process.poll() is None, f"{self.module} ended: {self.log[-2000:]}"
        try:
            answer = requests.get(f"{self.url}/readyz", timeout=2)
            if answer.status_code == 404:
                answer = requests.get(f"{self.url}/healthz", timeout=2)
        except requests.RequestException as error:
            self._said = str(error)
            return False
        self._said = answer.text
        return answer.status_code == 200

    def peak_memory_mib(self) -> float:
        """The most memory that it has held (VmHWM)."""
        return peak_memory_mib(self.pid)

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, timeout_s: float = 40) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(timeout_s)

    def wait(self, timeout_s: float = 30) -> int:
        """Wait for it to end by itself; the exit status."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def end(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
