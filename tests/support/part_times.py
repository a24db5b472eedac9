"""How long each part of a run took: a table at the run's end, so that what grows is seen."""

from collections import defaultdict
from pathlib import Path

import pytest

_SLOWEST = 12


class PartTimes:
    """Adds up the seconds of every test by folder and by file, from whichever process ran it."""

    def __init__(self) -> None:
        self._tests: dict[str, int] = defaultdict(int)
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        for part in (str(Path(file).parent), file):
            self._tests[part] += report.when == "call"
            self._seconds[part] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("seconds by part, of all processes together")
        folders = [part for part in self._seconds if not part.endswith(".py")]
        slowest = sorted(set(self._seconds) - set(folders), key=lambda part: -self._seconds[part])
        for part in (*sorted(folders), *slowest[:_SLOWEST]):
            terminalreporter.write_line(f"{self._seconds[part]:8.1f} s {self._tests[part]:5d} tests  {part}")
