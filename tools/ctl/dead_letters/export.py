"""Dead letters as a file: a table, or a JSON object a line, with masked numbers."""

import csv
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TextIO

import orjson

from shared.domain.dead_letter import DeadLetter
from shared.files import for_owner_only
from tools.ctl.errors import UsageError


class Format(StrEnum):
    """How letters are exported."""

    CSV = "csv"
    JSONL = "jsonl"


_MASKED_NUMBER = re.compile(r"\+?[0-9*]+")
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _disarmed(value: str | int | None) -> str | int | None:
    """A cell that a spreadsheet takes for a text: one that looks like a formula gets an apostrophe before it, unless it
    is a masked number."""
    if not isinstance(value, str) or not value.startswith(_BEGINS_A_FORMULA) or _MASKED_NUMBER.fullmatch(value):
        return value
    return f"'{value}"


@contextmanager
def opened_for_writing(file: Path) -> Iterator[TextIO]:
    """The file, or standard output for `-`; UsageError where it cannot be written."""
    if str(file) == "-":
        yield sys.stdout
        return
    try:
        with open(file, "w", encoding="utf-8", newline="", opener=for_owner_only) as stream:
            yield stream
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _exported(letter: DeadLetter) -> dict[str, str | int | None]:
    return {
        "message_id": letter.message_id,
        "batch_id": letter.batch_id,
        "row": letter.turn.row if letter.turn else None,
        "recipient": letter.turn.recipient if letter.turn else None,
        "code": letter.code,
        "reason": letter.reason,
        "provider": letter.provider,
        "provider_status": letter.provider_status,
        "attempts": letter.attempts,
        "first_at": letter.first_at,
        "failed_at": letter.failed_at,
        "failed_by": letter.failed_by,
        "original_queue": letter.original_queue,
        "queue": letter.queue,
    }


def writer(stream: TextIO, form: Format) -> Callable[[DeadLetter], None]:
    """What writes one letter after the other, a table with its header."""
    if form is Format.JSONL:
        return lambda letter: print(orjson.dumps(_exported(letter)).decode(), file=stream)
    rows: csv.DictWriter[str] | None = None

    def put(letter: DeadLetter) -> None:
        nonlocal rows
        fields = _exported(letter)
        if rows is None:
            rows = csv.DictWriter(stream, fields)
            rows.writeheader()
        rows.writerow({name: _disarmed(value) for name, value in fields.items()})

    return put
