"""What came of the faults, as a Markdown table; pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tests.faults.conservation import Tally


@dataclass
class Line:
    """One run of one scenario, and on which versions."""

    scenario: int
    title: str
    broker: str
    seconds: float = 0.0
    seen: Tally = field(default_factory=Tally)
    passed: bool = False
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """A line from its `dataclasses.asdict`."""
        return cls(**{**values, "seen": Tally(**values["seen"])})


def table(runs: Sequence[Line]) -> list[str]:
    """The runs' sums, a line for each scenario and broker."""
    lines = [
        "| # | scenario | broker | runs | failed | recipients | lost | sent twice | unknown | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    grouped: dict[tuple[int, str, str], list[Line]] = defaultdict(list)
    for run in runs:
        grouped[run.scenario, run.title, run.broker].append(run)
    for (scenario, title, broker), of_one in sorted(grouped.items()):
        failed = sum(not run.passed for run in of_one)
        sums = [
            sum(getattr(run.seen, name) for run in of_one) for name in ("recipients", "lost", "sent_twice", "unknown")
        ]
        cells = (scenario, title, broker, len(of_one), failed, *sums, f"{sum(run.seconds for run in of_one):.0f}")
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return lines
