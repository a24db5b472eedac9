"""What processes used of the machine: CPU seconds and peak memory, children included."""

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from tests.support.processes import peak_memory_mib


@dataclass(frozen=True, slots=True)
class Memory:
    """Peaks in MiB (VmHWM): of all processes added up, and of the largest.

    Pages that forked processes share count once for each of them.
    """

    sum_mib: float
    largest_mib: float


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds since their start of these processes, their living children, and those children that have ended."""
    return sum(sum(process.cpu_times()[:4]) for process in _with_children(pids))


def memory(pids: Sequence[int]) -> Memory:
    """The peaks of these processes and their living children."""
    peaks = [peak_memory_mib(process.pid) for process in _with_children(pids)]
    return Memory(sum(peaks), max(peaks))


def _with_children(pids: Sequence[int]) -> list[psutil.Process]:
    parents = [psutil.Process(pid) for pid in pids]
    return [*parents, *(child for parent in parents for child in parent.children(recursive=True))]
