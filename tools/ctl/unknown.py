"""The commands `smsctl unknown list` and `smsctl unknown resolve`: straight to the ledger, then to sms.unknown."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from shared.clock import now_ms
from shared.domain.message import Key
from shared.domain.phone import mask, mask_numbers_in
from shared.domain.times import rfc3339
from shared.ledger.unclear import Decision, Scope, UnclearGroup, UnclearLedger, UnclearRow
from shared.settings import Settings, load
from shared.topology import UNKNOWN_QUEUE
from tools.ctl.batches.report import terminal
from tools.ctl.dead_letters.reading import take_out
from tools.ctl.dead_letters.selecting import e164
from tools.ctl.errors import CtlError, UsageError
from tools.ctl.ledger import opened
from tools.ctl.targets import batch_id, place, place_of

_CHUNK = 500
_LETTER_CHUNK = 1000
_LONGEST_REASON = 200
_DECIDED = {
    Decision.SENT: "An operator decided that it was sent",
    Decision.FAILED: "An operator decided that it was not sent, and gave it up",
    Decision.RESEND: "An operator decided to send it again",
}

app = typer.Typer(no_args_is_help=True, help="The numbers that may have been sent (sms.unknown), and their end.")


@app.command("list")
def show(
    batch: Annotated[str | None, typer.Argument(help="One batch's id; every batch where not given.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="How many numbers to show.")] = 50,
) -> None:
    """Show the unclear numbers: how many for which reason, and the first of them."""
    scope = Scope(batch_id=batch_id(batch) if batch is not None else None)
    groups, rows = asyncio.run(_look(load(Settings), scope, limit))
    console = terminal()
    _print_groups(console, groups)
    if rows:
        console.print(_rows(rows))


@app.command()
def resolve(
    target: Annotated[str | None, typer.Argument(metavar="[BATCH | BATCH:ROW]", help="Which; or --all.")] = None,
    *,
    decision: Annotated[Decision, typer.Option("--as", help="What becomes of them.")],
    number: Annotated[str | None, typer.Option(help="Only this phone number, such as +8613800138000.")] = None,
    every: Annotated[bool, typer.Option("--all", help="The unclear numbers of all batches.")] = False,
    code: Annotated[str | None, typer.Option(help="Only those with this code, such as timeout.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the ledger.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which would be resolved.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before numbers are sent again.")] = False,
) -> None:
    """Decide about unclear numbers: they were sent, they failed, or they are sent again (a second text for some)."""
    scope = _scope(target, number, code, every=every)
    settings, console = load(Settings), terminal()
    groups, _rows = asyncio.run(_look(settings, scope, 0))
    affected = _affected(groups, scope, decision)
    _print_groups(console, groups)
    if dry_run:
        console.print(f"{affected} would be resolved as {decision}")
        return
    if decision is Decision.RESEND and affected and not yes:
        _confirm(affected)
    resolved = asyncio.run(_resolve(settings, scope, decision, _sentence(decision, reason)))
    console.print(f"{resolved} resolved as {decision}")
    console.print(f"{_take_letters(settings)} letters taken out of {UNKNOWN_QUEUE}")


def _scope(target: str | None, number: str | None, code: str | None, *, every: bool) -> Scope:
    if every == (target is not None or number is not None):
        raise UsageError("say which: a batch, <batch>:<row>, --number, or --all")
    batch, row = place(target) if target is not None else (None, None)
    return Scope(batch, row, e164(number) if number is not None else None, code)


def _affected(groups: Sequence[UnclearGroup], scope: Scope, decision: Decision) -> int:
    """How many will be resolved; CtlError where the one batch that is meant was cancelled."""
    numbers, in_cancelled = sum(group.numbers for group in groups), sum(group.in_cancelled for group in groups)
    if decision is not Decision.RESEND or not in_cancelled:
        return numbers
    if scope.batch_id is not None:
        raise CtlError(f"batch {scope.batch_id} was cancelled: its numbers can be resolved as sent or failed only")
    print(f"smsctl: {in_cancelled} are left out: their batches were cancelled", file=sys.stderr)
    return numbers - in_cancelled


def _confirm(affected: int) -> None:
    if not sys.stdin.isatty():
        raise UsageError("sending again may mean a second text for some people: confirm it with --yes")
    typer.confirm(f"{affected} may get a second text. Send again?", abort=True)


def _sentence(decision: Decision, reason: str | None) -> str:
    # An operator's words may quote a number, and a reason is shown to everybody.
    return f"{_DECIDED[decision]}: {mask_numbers_in(reason)[:_LONGEST_REASON]}" if reason else _DECIDED[decision]


async def _look(settings: Settings, scope: Scope, limit: int) -> tuple[list[UnclearGroup], list[UnclearRow]]:
    async with opened(settings.database_url) as database:
        ledger = UnclearLedger(database)
        return await ledger.groups(scope), await ledger.rows(scope, limit)


async def _resolve(settings: Settings, scope: Scope, decision: Decision, reason: str) -> int:
    resolved, after = 0, None
    async with opened(settings.database_url) as database:
        ledger = UnclearLedger(database)
        # Forwards only: what is sent again may be unclear again before this ends, and is then another question.
        while keys := await ledger.resolve(scope, decision, reason, after, _CHUNK, now_ms()):
            resolved, after = resolved + len(keys), keys[-1]
    return resolved


def _take_letters(settings: Settings) -> int:
    """Remove the letters of all numbers that were decided about, those of an interrupted run too."""

    async def choose(message_ids: Sequence[str | None]) -> set[int]:
        places = {number: found for number, text in enumerate(message_ids) if (found := place_of(text or ""))}
        keys = {number: (found.batch_id, found.row) for number, found in places.items() if found.row is not None}
        decided = await _decided(settings, sorted(set(keys.values())))
        return {number for number, key in keys.items() if key in decided}

    try:
        return take_out(settings.amqp_url.get_secret_value(), UNKNOWN_QUEUE, choose)
    except CtlError as error:
        raise CtlError(f"{error}; the ledger is done, the same command once more removes the letters") from None


async def _decided(settings: Settings, keys: Sequence[Key]) -> set[Key]:
    found: set[Key] = set()
    async with opened(settings.database_url) as database:
        ledger = UnclearLedger(database)
        for start in range(0, len(keys), _LETTER_CHUNK):
            found |= await ledger.decided(keys[start : start + _LETTER_CHUNK])
    return found


def _print_groups(console: Console, groups: Sequence[UnclearGroup]) -> None:
    if not groups:
        console.print("no unclear number")
        return
    table = Table("code", "numbers", "such as", show_footer=True)
    table.columns[0].footer = "total"
    table.columns[1].justify, table.columns[1].footer = "right", str(sum(group.numbers for group in groups))
    for group in groups:
        table.add_row(group.code or "", str(group.numbers), group.reason or "")
    console.print(table)


def _rows(rows: Sequence[UnclearRow]) -> Table:
    table = Table("number", "recipient", "code", "reason", "attempts", "since")
    table.columns[0].no_wrap = True
    for row in rows:
        cells = (row.code or "", row.reason or "", str(row.attempts), rfc3339(row.since_ms))
        table.add_row(f"{row.batch_id}:{row.row}", mask(row.recipient), *cells)
    return table
