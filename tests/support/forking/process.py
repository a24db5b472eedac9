"""Processes that the fork server makes, with the interface of `subprocess`."""

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import IO, Any

_STARTS_WITHIN_S = 120
_FIRST_STATUS_LINE = 2


class ForkedProcess:
    """What `subprocess.Popen` is for a program: a process that runs a module, to be waited for and signalled."""

    def __init__(self, status: socket.socket) -> None:
        self._status, self._said = status, b""
        self._lock = threading.Lock()
        self._read(_STARTS_WITHIN_S, lines=1)
        if b"\n" not in self._said:
            raise AssertionError("the fork server made no process")
        self.pid = int(self._said.split(b"\n")[0])

    @property
    def returncode(self) -> int | None:
        """As far as it is known: `poll` looks."""
        lines = self._said.split(b"\n")
        return int(lines[1]) if len(lines) > _FIRST_STATUS_LINE else None

    def poll(self) -> int | None:
        """The exit status, None while it runs; negative where a signal ended it."""
        with self._lock:
            self._read(0, lines=_FIRST_STATUS_LINE)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; subprocess.TimeoutExpired where it has none in time."""
        with self._lock:
            self._read(timeout, lines=_FIRST_STATUS_LINE)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout_s: float | None, *, lines: int) -> None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._said.count(b"\n") < lines:
            self._status.settimeout(None if deadline is None else max(0, deadline - time.monotonic()))
            try:
                data = self._status.recv(64)
            except (BlockingIOError, TimeoutError):
                return
            if not data:
                raise AssertionError("the fork server is gone")
            self._said += data
        if lines == _FIRST_STATUS_LINE:
            self._status.close()


def fork(
    module: str, *arguments: str, environment: Mapping[str, str], stdout: IO[Any], stderr: IO[Any]
) -> ForkedProcess:
    """Run `python -m module arguments` with this environment and nothing on its standard input."""
    ours, theirs = socket.socketpair()
    request = {"module": module, "arguments": arguments, "environment": dict(environment)}
    server, lock = _server()
    with theirs, open(os.devnull, "rb") as nothing, lock:
        streams = [nothing.fileno(), stdout.fileno(), stderr.fileno(), theirs.fileno()]
        socket.send_fds(server, [json.dumps(request).encode()], streams)
    return ForkedProcess(ours)


def run(
    module: str, *arguments: str, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module arguments` to its end, with what it wrote; subprocess.TimeoutExpired, and it is killed."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = fork(module, *arguments, environment=environment, stdout=stdout, stderr=stderr)
        try:
            status = process.wait(timeout_s)
        finally:
            process.kill()
        written = [_all_of(stream) for stream in (stdout, stderr)]
    return subprocess.CompletedProcess([module, *arguments], status, *written)


def outside_environment(**settings: str) -> dict[str, str]:
    """This process's environment with these of our settings and no others."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("SMS_")}, **settings}


def _all_of(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()


@functools.cache
def _server() -> tuple[socket.socket, threading.Lock]:
    """The fork server of this process, started when it is first needed; it ends with us."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forking.server", str(theirs.fileno())],
            env=outside_environment(),
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(lambda: (ours.close(), server.wait(10)))
    return ours, threading.Lock()
