"""The command `smsctl audit`: the ledger held against itself, the queues, and the provider's simulator."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from shared.clock import now_ms
from shared.ledger.auditing import AuditLedger
from shared.settings import load
from tools.ctl.auditing.audit import Audit, Times
from tools.ctl.auditing.queues import beside, look_at_queues, missing_queues
from tools.ctl.auditing.report import Report
from tools.ctl.auditing.settings import AuditSettings, checked_url
from tools.ctl.auditing.simulator import Simulator
from tools.ctl.batches.report import terminal
from tools.ctl.ledger import opened
from tools.ctl.targets import batch_id

_STUCK_AFTER_S = 1800
_LETTERS = 100_000


def audit(
    batch: Annotated[list[str] | None, typer.Argument(help="Batches' ids; every batch where none is given.")] = None,
    *,
    stuck_after: Annotated[
        int, typer.Option(min=1, help="Seconds for which a number that is not final may stand still.")
    ] = _STUCK_AFTER_S,
    letters: Annotated[int, typer.Option(min=0, help="How many dead letters of each queue to look at.")] = _LETTERS,
    simulator: Annotated[
        str | None, typer.Option(help="The simulator's URL; SMS_SIMULATOR_URL where not given.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Notes count as discrepancies.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Hold the ledger against itself, the queues and what the simulator saw; exit status 1 where anything differs."""
    settings = load(AuditSettings)
    simulator_url = checked_url(simulator) if simulator else settings.simulator_url
    only = [batch_id(text) for text in batch or ()]
    report = Report(None if as_json else terminal())
    report.provider(simulator_url)
    asyncio.run(_run(settings, only, _times(stuck_after), letters, simulator_url, report))
    print(report.json() if as_json else report.summary)
    if report.discrepancies or (strict and report.notes):
        raise typer.Exit(1)


async def _run(
    settings: AuditSettings, only: Sequence[str], times: Times, letters: int, simulator_url: str | None, report: Report
) -> None:
    depths, looked_at = await asyncio.to_thread(
        look_at_queues, settings.amqp_url.get_secret_value(), settings.topology, letters
    )
    async with opened(settings.database_url) as database:
        ledger = AuditLedger(database)
        report.queues(beside(depths, await ledger.totals()))
        report.add(missing_queues(depths))
        course = Audit(ledger, looked_at, Simulator(simulator_url) if simulator_url else None, times)
        report.add(course.about_letters(of_some=bool(only)))
        async for findings in course.these(only) if only else course.every_batch():
            report.batch(findings)


def _times(stuck_after_s: int) -> Times:
    now = now_ms()
    return Times(now, now - 1000 * stuck_after_s)
