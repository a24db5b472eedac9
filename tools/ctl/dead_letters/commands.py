"""The commands `smsctl dead-letters …`: see why, send again, throw away, export."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from shared.dead_letters.handling import LETTER_QUEUES, DeadLetterHandler, Limits, Tally, survey
from shared.domain.dead_letter import DeadLetter
from shared.domain.message import message_id
from shared.domain.phone import mask_numbers_in
from shared.domain.times import rfc3339
from shared.errors import BrokerUnreachable, QueueMissing
from shared.ledger.attempts import Attempt, AttemptsLedger
from shared.ledger.database import Database
from shared.ledger.dead_letters import DeadLettersLedger, Discard
from shared.settings import Settings, load
from shared.topology import DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, UNKNOWN_QUEUE
from tools.ctl.batches.report import terminal
from tools.ctl.dead_letters.export import Format, opened_for_writing, writer
from tools.ctl.dead_letters.groups import By, Group, Grouping, total
from tools.ctl.dead_letters.reading import depths
from tools.ctl.dead_letters.selecting import Filter, places_of, with_filter
from tools.ctl.errors import CtlError, UsageError
from tools.ctl.ledger import opened
from tools.ctl.targets import place

Result = TypeVar("Result")

_NAME = "smsctl dead-letters"
_RATE = 1000
_LONGEST_REASON = 200

app = typer.Typer(no_args_is_help=True, help="The numbers and batches that could not be sent: why, and what to do.")


Rate = Annotated[int, typer.Option(min=0, help="How many a second at most; 0 for as fast as the broker takes them.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Every = Annotated[bool, typer.Option("--all", help="All that the other options leave.")]
Batches = Annotated[bool, typer.Option("--batches", help="The letters of whole batches (sms.dead-letter.batches).")]


@app.command("list")
@with_filter
def show_groups(
    which: Filter,
    *,
    by: Annotated[By, typer.Option(help="One line for each code, or for each code in each batch.")] = By.CODE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """Count the dead letters by code, provider and batch, with a reason, an example and their age."""
    settings = load(Settings)
    url = settings.amqp_url.get_secret_value()
    selection, grouping = which.selection(), Grouping(by)

    async def look(_letters: DeadLetterHandler, database: Database) -> None:
        chosen = replace(selection, places=await places_of(which.number, database))
        for queue in LETTER_QUEUES:
            await survey(url, queue, _NAME, lambda letter: grouping.add(letter) if chosen.fits(letter) else None)

    _run(settings, look)
    groups = grouping.largest_first()
    if as_json:
        print(orjson.dumps([asdict(group) for group in groups]).decode())
        return
    console = terminal()
    _print_groups(console, groups, by)
    if unclear := depths(url, [UNKNOWN_QUEUE])[UNKNOWN_QUEUE]:
        console.print(f"{UNKNOWN_QUEUE}: {unclear} that may have been sent (smsctl unknown list)")


@app.command()
def show(
    target: Annotated[str, typer.Argument(metavar="BATCH:ROW", help="The letter's message_id.")],
) -> None:
    """Show a number's history: each attempt, by whom, at which provider, and what came of it."""
    batch_id, row = place(target)
    if row is None:
        raise UsageError("say which number: <batch>:<row>, as a letter's message_id has it")
    settings = load(Settings)
    attempts, discards = asyncio.run(_history(settings, batch_id, row))
    if attempts is None:
        raise CtlError(f"the ledger has no number {target}")
    console = terminal()
    console.print(_attempts_table(target, attempts))
    for discard in discards:
        when = rfc3339(discard.discarded_at_ms)
        console.print(f"{when}: its letter ({discard.error_code}) was thrown away: {discard.reason}", soft_wrap=True)


@app.command()
@with_filter
def replay(
    which: Filter,
    *,
    every: Every = False,
    batches: Batches = False,
    rate: Rate = _RATE,
    dry_run: DryRun = False,
) -> None:
    """Send dead letters again. It may be cut off, repeated, and run beside the senders: nothing goes out twice."""
    which.must_mean_something(every=every)
    selection, queue = which.selection(), _queue(batches=batches)

    async def send_again(letters: DeadLetterHandler, database: Database) -> Tally:
        chosen, limits = replace(selection, places=await places_of(which.number, database)), Limits(rate=rate or None)
        with _progress(queue, load(Settings)) as progress:
            return await letters.replay(queue, chosen, limits, dry_run=dry_run, progress=progress)

    tally = _run(load(Settings), send_again)
    print(f"{tally.done} {'would be ' if dry_run else ''}sent again, of {tally.chosen} chosen and {tally.seen} there")
    for reason, count in tally.removed.items():
        print(f"{count} {'would be ' if dry_run else ''}taken out, for they are stale: {reason}")
    for reason, count in tally.left.items():
        print(f"{count} left: {reason}")


@app.command()
@with_filter
def discard(
    which: Filter,
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the ledger.")],
    every: Every = False,
    batches: Batches = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before they are thrown away.")] = False,
) -> None:
    """Throw dead letters away, with a reason that is kept. Their numbers stay failed in the ledger."""
    which.must_mean_something(every=every)
    selection, queue = which.selection(), _queue(batches=batches)
    settings = load(Settings)
    why = mask_numbers_in(reason)[:_LONGEST_REASON]  # an operator's words may quote a number
    if not dry_run and not yes:
        _confirm()

    async def throw_away(letters: DeadLetterHandler, database: Database) -> Tally:
        chosen = replace(selection, places=await places_of(which.number, database))
        with _progress(queue, settings) as progress:
            return await letters.discard(queue, chosen, why, dry_run=dry_run, progress=progress)

    tally = _run(settings, throw_away)
    print(f"{tally.done} {'would be ' if dry_run else ''}thrown away, of {tally.seen} there")


@app.command()
@with_filter
def export(
    which: Filter,
    *,
    file: Annotated[Path, typer.Argument(help="Where to write; - for standard output.")],
    batches: Batches = False,
    form: Annotated[Format, typer.Option("--format", help="A table, or one JSON object a line.")] = Format.CSV,
) -> None:
    """Write the dead letters to a file, with masked numbers; they stay where they are."""
    selection, queue = which.selection(), _queue(batches=batches)
    settings = load(Settings)

    async def write(_letters: DeadLetterHandler, database: Database) -> int:
        chosen, written = replace(selection, places=await places_of(which.number, database)), 0
        with opened_for_writing(file) as stream:
            put = writer(stream, form)

            def see(letter: DeadLetter) -> None:
                nonlocal written
                if chosen.fits(letter):
                    put(letter)
                    written += 1

            await survey(settings.amqp_url.get_secret_value(), queue, _NAME, see)
        return written

    print(f"{_run(settings, write)} letters written", file=sys.stderr)


def _run(settings: Settings, work: Callable[[DeadLetterHandler, Database], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with opened(settings.database_url) as database:
            return await work(DeadLetterHandler(settings.amqp_url.get_secret_value(), database, _NAME), database)

    try:
        return asyncio.run(run())
    except BrokerUnreachable as error:
        raise CtlError(
            f"{error}; what was not done is still there: run the same command again (SMS_AMQP_URL)"
        ) from None
    except QueueMissing as error:
        raise CtlError(f"{error}: smsctl topology declares it") from None


async def _history(settings: Settings, batch_id: str, row: int) -> tuple[list[Attempt] | None, list[Discard]]:
    async with opened(settings.database_url) as database:
        attempts = await AttemptsLedger(database).of(batch_id, row)
        return attempts, await DeadLettersLedger(database).discards_of(message_id(batch_id, row))


def _queue(*, batches: bool) -> str:
    return DEAD_LETTER_BATCHES_QUEUE if batches else DEAD_LETTER


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise UsageError("what is thrown away does not come back: confirm it with --yes, or look with --dry-run first")
    typer.confirm("What is thrown away does not come back. Go on?", abort=True)


@contextmanager
def _progress(queue: str, settings: Settings) -> Iterator[Callable[[Tally], None]]:
    """A bar of how many letters were looked at; nothing where the output is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _tally: None
        return
    there = depths(settings.amqp_url.get_secret_value(), [queue])[queue]
    with Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("", total=there)
        yield lambda tally: bar.update(task, completed=tally.seen)


def _print_groups(console: Console, groups: Sequence[Group], by: By) -> None:
    if not groups:
        console.print("no dead letter")
        return
    columns = [
        "code",
        "provider",
        *(["batch"] if by is By.BATCH else []),
        "letters",
        "oldest",
        "newest",
        "reason",
        "such as",
    ]
    table = Table(*columns, show_footer=True)
    table.columns[0].footer = "total"
    for name in {"code", "batch", "such as"}.intersection(columns):
        table.columns[columns.index(name)].overflow = "fold"  # to be copied: never cut off
    letters = columns.index("letters")
    table.columns[letters].justify, table.columns[letters].footer = "right", str(total(groups))
    for group in groups:
        batch = [group.batch_id or ""] if by is By.BATCH else []
        times = [group.oldest or "", group.newest or ""]
        table.add_row(group.code, group.provider or "", *batch, str(group.letters), *times, group.reason, group.example)
    console.print(table)


def _attempts_table(target: str, attempts: Sequence[Attempt]) -> Table:
    table = Table("attempt", "begun", "ended", "provider", "sender", "came to", "code", "reason", title=target)
    for column in table.columns:
        column.overflow = "fold"
    for attempt in attempts:
        table.add_row(
            str(attempt.attempt),
            _time(attempt.begun_at_ms),
            _time(attempt.ended_at_ms),
            attempt.provider,
            attempt.sender or "",
            attempt.state,
            attempt.error_code or "",
            attempt.error_reason or "",
        )
    return table


def _time(time_ms: int | None) -> str:
    return "" if time_ms is None else rfc3339(time_ms)
