"""Many rows as one SQL parameter."""

import sqlite3
from contextlib import closing

import orjson
import pytest

from shared.ledger.bulk_params import as_rows, single_statement, with_rows

COLUMNS = {"batch_id": "uuid", "row_no": "integer"}


def test_rows_become_one_json_document_by_column() -> None:
    assert orjson.loads(as_rows([("a", 1), ("b", None)], COLUMNS)) == [
        {"batch_id": "a", "row_no": 1},
        {"batch_id": "b", "row_no": None},
    ]


def test_no_rows_are_an_empty_document() -> None:
    assert as_rows([], COLUMNS) == "[]"


@pytest.mark.parametrize("row", [("a",), ("a", 1, 2)])
def test_a_row_with_another_number_of_values_is_refused(row: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        as_rows([row], COLUMNS)


def test_postgresql_reads_the_document_with_the_columns_types() -> None:
    statement = with_rows("SELECT * FROM {rows} WHERE 1 = 1", COLUMNS, sqlite=False)
    assert str(statement) == (
        "SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(batch_id uuid, row_no integer) WHERE 1 = 1"
    )


def test_sqlite_reads_the_document_as_a_table_with_its_values_as_they_were() -> None:
    rows = [('it\'s "quoted" 你好 \\ $1 :rows', 1), ("b", 2**40), ("", -1), ("c", None)]
    statement = str(with_rows("SELECT w.row_no, w.batch_id FROM {rows}", COLUMNS, sqlite=True))
    with closing(sqlite3.connect(":memory:")) as connection:
        found = connection.execute(statement, {"rows": as_rows(rows, COLUMNS)}).fetchall()
    assert found == [(row_no, batch_id) for batch_id, row_no in rows]


@pytest.mark.parametrize("sqlite", [True, False])
def test_there_is_one_parameter_however_many_rows_there_are(*, sqlite: bool) -> None:
    statement = with_rows("SELECT * FROM {rows}", COLUMNS, sqlite=sqlite)
    assert list(statement.compile().params) == ["rows"]


def test_names_become_positions_behind_the_rows_and_casts_stay() -> None:
    statement = single_statement(
        "UPDATE t SET at = :now_ms, by = :token, c = '1'::text FROM {rows}", "rows", "token", "now_ms", columns=COLUMNS
    )
    rows = "jsonb_to_recordset(CAST($1 AS jsonb)) AS w(batch_id uuid, row_no integer)"
    assert statement == f"UPDATE t SET at = $3, by = $2, c = '1'::text FROM {rows}"
