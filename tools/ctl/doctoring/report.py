"""What a doctor prints: line by line on a terminal, or one JSON object."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson
from rich.console import Console

from tools.ctl.doctoring.findings import Finding, Kind, count


@dataclass
class Report:
    """Collects what is found. With a console it is printed at once, without one only kept for `json`."""

    console: Console | None
    _findings: list[Finding] = field(default_factory=list)
    _fixed: list[str] = field(default_factory=list)

    def fixed(self, what: str) -> None:
        """Say what was repaired."""
        self._fixed.append(what)
        self._print(f"fixed: {what}")

    def add(self, findings: Iterable[Finding]) -> None:
        """Say what was found."""
        for finding in findings:
            self._findings.append(finding)
            self._print(finding.lines)

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong as far as could be seen."""
        return all(finding.kind is not Kind.WRONG for finding in self._findings)

    @property
    def summary(self) -> str:
        """The sum in a line."""
        kinds = Counter(finding.kind for finding in self._findings)
        wrong = kinds[Kind.WRONG]
        counted = [count(wrong, "finding") if wrong else "nothing is wrong", count(kinds[Kind.HINT], "hint")]
        return ", ".join([*counted, f"{kinds[Kind.NOT_CHECKED]} not checked"])

    def json(self) -> str:
        """Everything as one object."""
        of = {kind: [_as_json(each) for each in self._findings if each.kind is kind] for kind in Kind}
        found = {"findings": of[Kind.WRONG], "hints": of[Kind.HINT], "not_checked": of[Kind.NOT_CHECKED]}
        return orjson.dumps({**found, "fixed": self._fixed}, option=orjson.OPT_INDENT_2).decode()

    def _print(self, lines: str) -> None:
        if self.console:
            self.console.print(lines, soft_wrap=True)


def _as_json(finding: Finding) -> dict[str, str]:
    return {"what": finding.what, "todo": finding.todo}
