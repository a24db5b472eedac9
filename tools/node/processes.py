"""The processes of one node, known by a variable in their environment.

A number in a pid file may belong to something else after a reboot; the mark cannot.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MARK = "SMS_NODE_FOLDER"
POLL_INTERVAL_S = 0.05


@dataclass(frozen=True)
class Process:
    """A running process: its id and the kernel's short name for it, such as `beam.smp` or `epmd`."""

    pid: int
    name: str


def of_folder(folder: Path) -> list[Process]:
    """Every live process that was started with our mark for `folder`; zombies are not among them."""
    mark = f"{MARK}={folder}".encode()
    return [found for entry in Path("/proc").glob("[0-9]*") if (found := _read(entry, mark)) is not None]


def _read(entry: Path, mark: bytes) -> Process | None:
    try:
        if mark not in (entry / "environ").read_bytes().split(b"\0"):
            return None
        return Process(int(entry.name), (entry / "comm").read_text().strip())
    except OSError:  # ended meanwhile, or another user's
        return None


def send(processes: list[Process], number: signal.Signals) -> None:
    """Send a signal to each; those that have ended meanwhile are passed over."""
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll `condition` until it holds; False when `timeout_s` passed first."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True
