"""What an audit says: line by line on a terminal, or one JSON object."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from tools.ctl.auditing.findings import Finding
from tools.ctl.auditing.queues import Depth


@dataclass
class Report:
    """Counts what is found. With a console each finding is printed at once, without one all are kept for `json`."""

    console: Console | None
    batches: int = 0
    discrepancies: int = 0
    notes: int = 0
    _kept: dict[str, Any] = field(default_factory=dict)

    def provider(self, simulator_url: str | None) -> None:
        """Say that the ledger is held against no provider, where that is so."""
        self._kept["simulator"] = simulator_url
        if self.console and not simulator_url:
            self.console.print("no simulator is named (--simulator, SMS_SIMULATOR_URL): the calls are not looked at")

    def queues(self, depths: Sequence[Depth]) -> None:
        """The queues beside the ledger's numbers."""
        self._kept["queues"] = [line._asdict() for line in depths]
        if self.console:
            self.console.print(_table(depths))

    def batch(self, findings: Iterable[Finding]) -> None:
        """Count a batch with its findings."""
        self.batches += 1
        self.add(findings)

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings."""
        for finding in findings:
            self.notes += finding.is_note
            self.discrepancies += not finding.is_note
            if self.console:
                self.console.print(f"{'note: ' if finding.is_note else ''}{finding.line}", soft_wrap=True)
            else:
                self._kept.setdefault("notes" if finding.is_note else "discrepancies", []).append(asdict(finding))

    @property
    def summary(self) -> str:
        """The sum in a line."""
        return (
            f"{self.batches} batch{'es' if self.batches != 1 else ''}: "
            f"{self.discrepancies} discrepanc{'ies' if self.discrepancies != 1 else 'y'}, "
            f"{self.notes} note{'s' if self.notes != 1 else ''}"
        )

    def json(self) -> str:
        """Everything as one object."""
        empty: dict[str, Any] = {"discrepancies": [], "notes": []}
        return orjson.dumps({"batches": self.batches, **empty, **self._kept}, option=orjson.OPT_INDENT_2).decode()


def _table(depths: Sequence[Depth]) -> Table:
    table = Table("queue", "ready", "in the ledger")
    table.columns[1].justify = "right"
    for line in depths:
        ledger = "" if line.state is None or line.numbers is None else f"{line.numbers} {line.state}"
        table.add_row(line.queue, "missing" if line.ready is None else str(line.ready), ledger)
    return table
