"""The process that others are forked from: `python -m tests.support.forking.server FD`, a sequenced socket's.

A request is a JSON object (module, arguments, environment) with three file descriptors for its standard streams and
the end of a stream socket. On that socket go a line with the process id and, when it has ended, one with the exit
status, negative for a signal. When the other end of FD is closed, all that was forked is killed.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from typing import Any

PRELOADED = (
    "services.api.__main__",
    "services.dispatcher.__main__",
    "services.sender.__main__",
    "tools.ctl.__main__",
    "tools.ctl.commands",
    "tools.simulator.__main__",
    # What these import only when they need it.
    "aiohttp.client",
    "aiosqlite",
    "alembic.autogenerate",
    "asyncpg",
    "phonenumbers.data.region_CN",
    "redis.asyncio",
    "rich.live",
    "rich.progress",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
)
LARGEST_REQUEST = 128 * 1024
_READ_AT_START = {"SMS_CRASH_AT", "LD_PRELOAD"}
"""Whoever has one of these in the environment needs an interpreter of its own: shared.crash_points is imported here
already, and so is the C library."""


class ForkServer:
    """Forks what is asked for until its socket is closed."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._running: dict[int, socket.socket] = {}
        self._woken, wakes = os.pipe()
        for end in (self._woken, wakes):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> dict[str, Any] | None:
        """Returns twice: None in this process when there is nothing more to do, in each forked one its request."""
        while True:
            ready, _, _ = select.select([self._requests, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 4096)
            self._bury()
            if self._requests in ready:
                data, descriptors, _, _ = socket.recv_fds(self._requests, LARGEST_REQUEST, 4)
                if not data:
                    self._kill_all()
                    return None
                if self._fork(socket.socket(fileno=descriptors.pop()), descriptors):
                    return dict(json.loads(data))

    def _fork(self, status: socket.socket, streams: list[int]) -> bool:
        """Whether this is the new process."""
        pid = os.fork()
        if pid == 0:
            self._become_ordinary(streams)
            return True
        for stream in streams:
            os.close(stream)
        self._running[pid] = status
        _tell(status, pid)
        return False

    def _become_ordinary(self, streams: list[int]) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        self._requests.detach()
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))

    def _bury(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            told = self._running.pop(pid)
            _tell(told, os.waitstatus_to_exitcode(status))
            told.close()

    def _kill_all(self) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)


def _tell(status: socket.socket, number: int) -> None:
    try:
        status.sendall(b"%d\n" % number)
    except OSError:
        return  # whoever asked for it is gone


def main() -> None:
    """Import, serve, and in a forked process run its module as `python -m` does."""
    for module in PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    request = ForkServer(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is None:
        return
    if _READ_AT_START & request["environment"].keys():
        command = [sys.executable, "-m", request["module"], *request["arguments"]]
        os.execve(sys.executable, command, request["environment"])  # noqa: S606 - this very interpreter
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [request["module"], *request["arguments"]]
    sys.modules.pop(f"{request['module']}.__main__", None)  # or runpy warns that it is there already
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
