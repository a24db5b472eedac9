"""Exported dead letters: no cell is a formula to a spreadsheet, and no file is for others to read."""

import csv
import io
import stat
from pathlib import Path

import pytest

from shared.domain.dead_letter import DeadLetter
from tools.ctl.dead_letters.export import Format, opened_for_writing, writer


def letter(reason: str) -> DeadLetter:
    ids, when = ("sms.dead-letter", "b:1", "b"), (None, None, "sender@x/1", "sms.outbound.bulk")
    return DeadLetter(*ids, "number_unreachable", reason, "default", 400, 1, *when, b"{}", None)


@pytest.mark.parametrize("reason", ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_providers_words_are_no_formula(reason: str) -> None:
    stream = io.StringIO()
    writer(stream, Format.CSV)(letter(reason))
    (row,) = csv.DictReader(io.StringIO(stream.getvalue(), newline=""))
    assert row["reason"].startswith("'")


def test_an_export_is_its_owners_only(tmp_path: Path) -> None:
    with opened_for_writing(tmp_path / "letters.csv") as stream:
        stream.write("x")
    assert stat.S_IMODE((tmp_path / "letters.csv").stat().st_mode) == 0o600
