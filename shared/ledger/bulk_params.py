"""Numbers' places, and many rows as one SQL parameter: a JSON document that the database reads as a table."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, TextClause, and_, or_, text

from shared.domain.message import Key
from shared.ledger.tables import messages

_NAMED = re.compile(r"(?<!:):([a-z_]+)")

KEYS = {"batch_id": "uuid", "row_no": "integer"}
"""The columns of a table of keys."""


def after_key(key: Key) -> ColumnElement[bool]:
    """The rows behind a number's place, by batch and row."""
    batch_id, row = key
    return or_(messages.c.batch_id > batch_id, and_(messages.c.batch_id == batch_id, messages.c.row_no > row))


def with_rows(statement: str, columns: Mapping[str, str], *, sqlite: bool) -> TextClause:
    """The statement with `{rows}` read as a table `w` of these columns (name: PostgreSQL type), from `:rows`.

    One parameter for any number of rows: the database prepares the statement once.
    """
    return text(statement.replace("{rows}", _sqlite(columns) if sqlite else _postgres(columns)))


def single_statement(statement: str, *names: str, columns: Mapping[str, str] | None = None) -> str:
    """A statement of PostgreSQL for `Database.run`, whose values have these names; where there are `columns`, `{rows}`
    is read as a table from the value `rows`."""
    numbers = {name: f"${position}" for position, name in enumerate(names, 1)}
    complete = statement.replace("{rows}", _postgres(columns)) if columns else statement
    return _NAMED.sub(lambda found: numbers[found[1]], complete)


def as_rows(rows: Sequence[Sequence[Any]], columns: Mapping[str, str]) -> str:
    """The value of `:rows`."""
    names = tuple(columns)
    return orjson.dumps([dict(zip(names, row, strict=True)) for row in rows]).decode()


def _postgres(columns: Mapping[str, str]) -> str:
    definition = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    return f"jsonb_to_recordset(CAST(:rows AS jsonb)) AS w({definition})"


def _sqlite(columns: Mapping[str, str]) -> str:
    selection = ", ".join(f"value ->> '{name}' AS {name}" for name in columns)
    return f"(SELECT {selection} FROM json_each(:rows)) AS w"  # noqa: S608 - our own column names
