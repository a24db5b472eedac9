"""Recipients from the text of a CSV file: header, variables; pure."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tools.ctl.errors import UsageError

NUMBER_COLUMNS = ("to", "mobile", "phone", "手机", "手机号", "手机号码")
_VARIABLE = re.compile(r"[^\W\d][\w.-]{0,63}")
_SEPARATOR_LINE = re.compile(r"\ufeff?\"?sep=(.)\"?(?:\r\n|\r|\n)", re.IGNORECASE)
"""What Excel writes first where it names the separator itself."""
_DELIMITERS = ",;\t，"
_NO_VARIABLES: Mapping[str, str] = {}


class Recipient(NamedTuple):
    """One row of the file; `line` is where it begins (the first is 1)."""

    line: int
    to: str
    variables: Mapping[str, str] = _NO_VARIABLES


class RecipientList(NamedTuple):
    """A whole file. `left_out` are the columns whose names no text can use as `$name`."""

    recipients: list[Recipient]
    variables: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class _Row(NamedTuple):
    line: int
    cells: list[str]


class _Header(NamedTuple):
    names: list[str]
    number: int
    variables: dict[str, int]


def read_recipients(text: str) -> RecipientList:
    """The recipients in their order; UsageError names the line that cannot be used.

    A header row names the column of the numbers (`NUMBER_COLUMNS`); every other column is a variable. A file of one
    column needs no header. Whether a number is one is for the dispatcher to say, also where there is none in its cell.
    """
    rows = _rows(text)
    first = next(rows, None)
    if first is None:
        raise UsageError("the file has no recipients")
    header = _header(first)
    if header is None:
        header, rows = _Header(["to"], 0, {}), _with_first(first, rows)
    recipients = [_recipient(row, header) for row in rows]
    if not recipients:
        raise UsageError("the file has a header and no recipients")
    named = {header.names[header.number], *header.variables, ""}
    return RecipientList(recipients, tuple(header.variables), tuple(sorted(set(header.names) - named)))


def _rows(text: str) -> Iterator[_Row]:
    """The rows with anything in them."""
    line, named = 1, _SEPARATOR_LINE.match(text)
    if named:
        text, line = text[named.end() :], 2
    first = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    delimiter = named[1] if named else max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    skipped = line - 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield _Row(line, stripped)
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise UsageError(f"line {line}: {error}") from None


def _with_first(first: _Row, rest: Iterator[_Row]) -> Iterator[_Row]:
    yield first
    yield from rest


def _header(row: _Row) -> _Header | None:
    """The header, or None where the first row is a number already."""
    names = row.cells
    numbers = [index for index, name in enumerate(names) if name.casefold() in NUMBER_COLUMNS]
    if len(numbers) > 1:
        raise UsageError(f"line {row.line}: two columns of numbers, {names[numbers[0]]} and {names[numbers[1]]}")
    if not numbers and sum(map(bool, names)) == 1 and any(character.isdigit() for character in names[0]):
        return None
    if not numbers:
        raise UsageError(f"line {row.line}: no column is named to, mobile or phone")
    _check_once_each(row.line, names)
    variables = {name: index for index, name in enumerate(names) if index != numbers[0] and _VARIABLE.fullmatch(name)}
    return _Header(names, numbers[0], variables)


def _check_once_each(line: int, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        if name and name in names[:index]:
            raise UsageError(f"line {line}: two columns are named {name}")


def _recipient(row: _Row, header: _Header) -> Recipient:
    width, cells = len(header.names), row.cells
    # A header may end in empty cells, and so may rows; nothing else may differ, or a value lands in another's place.
    if len(cells) < max(header.number, *header.variables.values(), 0) + 1 or any(cells[width:]):
        raise UsageError(f"line {row.line}: {len(cells)} fields where the header has {width}")
    number = cells[header.number]
    if not header.variables:
        return Recipient(row.line, number)
    return Recipient(row.line, number, {name: cells[index] for name, index in header.variables.items()})
