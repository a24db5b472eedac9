"""The command `smsctl doctor`: what is wrong with a live system, and what to do about it."""

from typing import Annotated

import typer

from shared.errors import SmsBatchError
from shared.settings import load
from tools.ctl.batches.report import terminal
from tools.ctl.doctoring.course import examine
from tools.ctl.doctoring.findings import Finding
from tools.ctl.doctoring.queues import repair
from tools.ctl.doctoring.report import Report
from tools.ctl.doctoring.settings import DoctorSettings
from tools.ctl.doctoring.system import System
from tools.ctl.settings import load_ctl_settings


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Declare what is missing, and migrate queues whose arguments differ.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Look at the whole system and say what is wrong, with what to do; exit status 1 where anything is."""
    system = System.of(load(DoctorSettings), load_ctl_settings().api_url)
    report = Report(None if as_json else terminal())
    if fix:
        report.add(_repaired(system, report))
    for findings in examine(system):
        report.add(findings)
    print(report.json() if as_json else report.summary)
    if not report.is_well:
        raise typer.Exit(1)


def _repaired(system: System, report: Report) -> list[Finding]:
    try:
        return repair(system, report.fixed)
    except SmsBatchError as error:
        return [Finding(f"nothing was repaired: {error}")]
