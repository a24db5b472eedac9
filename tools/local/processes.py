"""Detached processes, found again by pid and start time, so that a recycled pid is never signalled."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from shared.files import for_owner_only

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE, _START_TIME = 0, 19  # fields of /proc/<pid>/stat after the name in brackets
_POLL_S = 0.05
_KILL_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Started:
    """One process that was started. `since` tells this boot and the kernel's start time: no two share pid and since."""

    pid: int
    since: str
    ready_url: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return _since(self.pid) == self.since

    @property
    def port(self) -> int | None:
        """The port it serves on."""
        return urlsplit(self.ready_url).port


def start(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, ready_url: str) -> Started:
    """Start a process that outlives this one and its terminal; its output is appended to `log`."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(log, "ab", opener=for_owner_only) as output:
        child = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Started(child.pid, _since(child.pid) or "", ready_url)


def end(processes: Iterable[Started], timeout_s: float) -> None:
    """SIGTERM to all of them, and SIGKILL to those that still run after `timeout_s`."""
    ending = list(processes)
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, _KILL_TIMEOUT_S)):
        _signal((process for process in ending if process.alive), number)
        if wait_until(lambda: not any(process.alive for process in ending), patience_s):
            return


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll `condition` until it holds; False when `timeout_s` passed first."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _signal(processes: Iterable[Started], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue


def _since(pid: int) -> str | None:
    try:
        # The name in brackets may hold blanks and brackets itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[_STATE] == "Z" else f"{_BOOT_ID.read_text().strip()}/{fields[_START_TIME]}"
