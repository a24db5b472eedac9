"""A batch's progress on the terminal: a live bar, or plain lines where the output goes to a file or a CI log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.text import Text

from tools.ctl.batches.snapshots import Snapshot, in_order

PLAIN_PAUSE_S = 2.0

Show = Callable[[Snapshot], None]


@contextmanager
def showing(console: Console) -> Iterator[Show]:
    """Something to show snapshots with, for as long as the block lasts."""
    if not console.is_terminal:
        yield PlainLines(lambda line: console.print(line, soft_wrap=True, markup=False, highlight=False))
        return
    progress = Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    states = Text()
    task = progress.add_task("", total=None)

    def show(snapshot: Snapshot) -> None:
        progress.update(task, total=snapshot.recipients, completed=snapshot.done)
        states.plain = f"{snapshot.status}  {_counts(snapshot)}"

    # The counts have a line of their own: beside the bar, a narrow terminal would cut off both.
    with Live(Group(progress, states), console=console, refresh_per_second=4):
        yield show


class PlainLines:
    """A line for a change, at most every two seconds; the last state always has its line."""

    def __init__(self, write: Callable[[str], None], pause_s: float = PLAIN_PAUSE_S) -> None:
        self._write, self._pause_s = write, pause_s
        self._last, self._not_before_s = "", 0.0

    def __call__(self, snapshot: Snapshot) -> None:
        line = f"{snapshot.done}/{snapshot.recipients or '?'} {snapshot.status}  {_counts(snapshot)}".rstrip()
        if line == self._last or (time.monotonic() < self._not_before_s and not snapshot.has_ended):
            return
        self._write(line)
        self._last, self._not_before_s = line, time.monotonic() + self._pause_s


def _counts(snapshot: Snapshot) -> str:
    return ", ".join(f"{state} {number}" for state, number in in_order(snapshot.counts))
