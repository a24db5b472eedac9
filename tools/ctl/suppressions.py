"""The commands `smsctl suppressions …`: numbers that opted out, straight in the ledger."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from shared.clock import now_ms
from shared.domain.phone import InvalidNumber, mask, mask_numbers_in, normalise
from shared.domain.times import rfc3339
from shared.ledger.suppressions import EVERY_SENDER, Source, Suppression, SuppressionLedger
from shared.settings import Settings, load
from tools.ctl.batches.encodings import decode
from tools.ctl.batches.report import terminal
from tools.ctl.dead_letters.export import opened_for_writing
from tools.ctl.dead_letters.selecting import e164
from tools.ctl.errors import UsageError
from tools.ctl.files import read_bytes
from tools.ctl.ledger import opened
from tools.ctl.settings import load_ctl_settings

_CHUNK = 5000
_FIELDS = ("recipient", "sender_name", "source", "reason", "added_at")
_LONGEST_REASON = 200
_WRONG_SHOWN = 5
_SOURCES = {source.value: source for source in Source}

app = typer.Typer(no_args_is_help=True, help="The numbers that opted out: nothing is sent to them.")

Answer = TypeVar("Answer")
SenderName = Annotated[
    str, typer.Option(help="Only from this sender name (a provider's sender_name); from all where not given.")
]


@app.command("list")
def show(
    number: Annotated[str | None, typer.Argument(help="One number, such as +8613800138000.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to show.")] = 50,
) -> None:
    """Show the list, masked, and how long it is."""
    recipient = None if number is None else e164(number)
    found, count = _with_list(lambda entries: _look(entries, limit, recipient))
    table = Table("number", "sender name", "source", "reason", "since")
    for entry in found:
        since = rfc3339(entry.added_at_ms)
        table.add_row(mask(entry.recipient), entry.sender_name or "(all)", entry.source, entry.reason or "", since)
    console = terminal()
    console.print(table)
    console.print(f"{count} on the list")


@app.command()
def add(
    numbers: Annotated[list[str], typer.Argument(help="Numbers, such as +8613800138000.")],
    *,
    sender_name: SenderName = EVERY_SENDER,
    reason: Annotated[str | None, typer.Option(help="Why, for who looks later.")] = None,
) -> None:
    """Put numbers on the list; from now on no call to them begins."""
    said = None if reason is None else mask_numbers_in(reason)[:_LONGEST_REASON]
    now = now_ms()
    entries = [Suppression(e164(number), sender_name, Source.OPERATOR, said, now) for number in numbers]
    added = _with_list(lambda ledger: ledger.add(entries))
    terminal().print(f"{added} added, {len(set(entries)) - added} on the list already")


@app.command()
def remove(
    numbers: Annotated[list[str], typer.Argument(help="Numbers, such as +8613800138000.")],
    *,
    sender_name: Annotated[str | None, typer.Option(help="Only from this sender name.")] = None,
) -> None:
    """Take numbers off the list: they may get texts again."""
    recipients = [e164(number) for number in numbers]
    removed = _with_list(lambda ledger: ledger.remove_of(recipients, sender_name))
    terminal().print(f"{removed} removed")


@app.command("import")
def read(
    file: Annotated[Path, typer.Argument(help="A CSV file with a column recipient (or numbers alone); - for stdin.")],
    *,
    sender_name: SenderName = EVERY_SENDER,
    encoding: Annotated[str | None, typer.Option(help="Where it is not UTF-8, such as gbk.")] = None,
) -> None:
    """Put the numbers of a file on the list; nothing is added where one cannot be read."""
    entries = _entries(decode(read_bytes(file), encoding).text, sender_name)

    async def add_all(ledger: SuppressionLedger) -> int:
        return sum([await ledger.add(entries[start : start + _CHUNK]) for start in range(0, len(entries), _CHUNK)])

    added = _with_list(add_all)
    terminal().print(f"{added} added, {len(entries) - added} on the list already")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to; - for standard output.")],
) -> None:
    """Write the list as CSV, with the numbers in full: `import` reads it."""

    async def write(ledger: SuppressionLedger) -> int:
        with opened_for_writing(file) as stream:
            rows = csv.writer(stream)
            rows.writerow(_FIELDS)
            count = 0
            async for entry in _all(ledger):
                # A number begins with a plus, which spreadsheets take for a formula: an apostrophe makes it a text.
                cells = entry.sender_name, entry.source, entry.reason or "", rfc3339(entry.added_at_ms)
                rows.writerow([f"'{entry.recipient}", *(_disarmed(cell) for cell in cells)])
                count += 1
        return count

    count = _with_list(write)
    if str(file) != "-":
        terminal().print(f"{count} written to {file}; the numbers in it are in full")


def _disarmed(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _entries(text: str, sender_name: str) -> Sequence[Suppression]:
    """The entries of a file; UsageError names the first lines that have no number."""
    region, now = load_ctl_settings().default_region, now_ms()
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    columns, first = _columns(rows)
    found: dict[tuple[str, str], Suppression] = {}
    wrong: list[str] = []
    for line, row in enumerate(rows[first:], first + 1):
        number = normalise(_cell(row, columns["recipient"]), region)
        if isinstance(number, InvalidNumber):
            wrong.append(f"row {line}: {number.reason}")
            continue
        name = sender_name or _cell(row, columns.get("sender_name")).removeprefix("'")
        source = _SOURCES.get(_cell(row, columns.get("source")), Source.IMPORT)
        found.setdefault((number, name), Suppression(number, name, source, None, now))
    if wrong:
        more = f" (and {len(wrong) - _WRONG_SHOWN} more)" if len(wrong) > _WRONG_SHOWN else ""
        raise UsageError("; ".join(wrong[:_WRONG_SHOWN]) + more)
    if not found:
        raise UsageError("there is no number in the file")
    return list(found.values())


def _columns(rows: Sequence[Sequence[str]]) -> tuple[Mapping[str, int], int]:
    """The columns by their names, and the first row that is no header: without one there are numbers alone."""
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "recipient" not in header:
        return {"recipient": 0}, 0
    return {name: header.index(name) for name in _FIELDS if name in header}, 1


def _cell(row: Sequence[str], column: int | None) -> str:
    return row[column].strip() if column is not None and len(row) > column else ""


async def _look(ledger: SuppressionLedger, limit: int, recipient: str | None) -> tuple[Sequence[Suppression], int]:
    found = [entry for _id, entry in await ledger.page(limit, recipient=recipient)]
    return found, await ledger.count()


async def _all(ledger: SuppressionLedger) -> AsyncIterator[Suppression]:
    after = 0
    while page := await ledger.page(_CHUNK, after):
        for id_, entry in page:
            after = id_
            yield entry


def _with_list(ask: Callable[[SuppressionLedger], Awaitable[Answer]]) -> Answer:
    async def asked() -> Answer:
        async with opened(load(Settings).database_url) as database:
            return await ask(SuppressionLedger(database))

    return asyncio.run(asked())
