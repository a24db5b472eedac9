"""smsctl templates against both databases."""

from pathlib import Path

import pytest

from tools.ctl.__main__ import main


@pytest.fixture(autouse=True)
def ledger(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_DATABASE_URL", database_url)


def _templates(*arguments: str) -> int:
    try:
        main(["templates", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_template_is_kept_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "code.txt"
    file.write_bytes("【示例】验证码 $code，$name\n".encode("gb18030"))
    assert _templates("add", "welcome", "Hi $name") == 0
    assert _templates("add", "code", "--file", str(file), "--id", "123") == 0
    assert "template 123 'code': 1 segment before variables are filled in; $code, $name" in capsys.readouterr().out
    assert _templates("list") == 0
    listed = capsys.readouterr().out
    assert "Hi $name" in listed
    assert "【示例】验证码 $code，$name" in listed


@pytest.mark.parametrize("second", [("welcome", "another"), ("another", "Hi", "--id", "5")])
def test_a_name_or_an_id_is_taken_once(second: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert _templates("add", "welcome", "Hi", "--id", "5") == 0
    assert _templates("add", *second) == 1
    said = capsys.readouterr().err
    assert "exists already" in said
    assert said.count("\n") == 1


def test_a_database_that_cannot_be_reached_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMS_DATABASE_URL", "postgresql://user:made-up@127.0.0.1:1/sms")
    assert _templates("list") == 1
    said = capsys.readouterr().err
    assert "made-up" not in said
    assert said.count("\n") == 1
