"""Tables and sentences about batches, for the terminal."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tools.ctl.batches.snapshots import MessageRow, Snapshot, in_order
from tools.ctl.errors import Refused

_PLAIN_WIDTH = 160


def terminal() -> Console:
    """Standard output; where it is no terminal, wide enough for a table's rows to stay on one line."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=_PLAIN_WIDTH)


def print_counts(console: Console, counts: Mapping[str, int]) -> None:
    """The counts by state, and their sum."""
    table = Table("state", show_footer=True)
    table.columns[0].footer = "total"
    table.add_column("numbers", justify="right", footer=str(sum(counts.values())))
    for state, number in in_order(counts):
        table.add_row(state, str(number))
    console.print(table)


def print_batch(console: Console, batch: Snapshot) -> None:
    """What is known of a batch as a whole."""
    console.print(f"batch {batch.batch_id}: {batch.status}")
    described = {
        "resend of": batch.resend_of,
        **{name.replace("_", " "): value for name, value in batch.options.items()},
        "created": batch.created_at,
        "to be sent": batch.send_at,
        "finished": batch.finished_at,
        "error": batch.error_reason,
        "paused by": batch.paused_by,
        "because": batch.paused_reason,
    }
    for name, value in described.items():
        if value:
            console.print(f"{name}: {', '.join(value) if isinstance(value, list) else value}")


def print_failures(console: Console, rows: Sequence[MessageRow]) -> None:
    """Numbers that were not sent, with the reasons; nothing where there are none."""
    if not rows:
        return
    table = Table("row", "recipient", "state", "attempts", "code", "reason", title="first failures")
    for row in rows:
        cells = (
            str(row.row),
            row.recipient,
            row.state,
            str(row.attempts),
            row.error_code or "",
            row.error_reason or "",
        )
        table.add_row(*cells)
    console.print(table)


def refusal(error: Refused, lines: Sequence[int] = ()) -> str:
    """An answer that refuses, a line for each place it names; `lines` are the file's lines of the recipients."""
    return "\n".join([str(error), *_flaws(error, lines)])


def _flaws(error: Refused, lines: Sequence[int]) -> Iterable[str]:
    for flaw in error.flaws:
        place = _file_line(flaw.pointer, lines) or flaw.pointer or "request"
        yield f"  {place}: {flaw.detail}"


def _file_line(pointer: str, lines: Sequence[int]) -> str | None:
    parts = pointer.split("/")
    if len(parts) < 3 or parts[1] != "recipients" or not parts[2].isdigit() or int(parts[2]) >= len(lines):
        return None
    return f"line {lines[int(parts[2])]} of the file ({pointer})"
