"""What smsctl says about options, files and settings that are wrong: one line, exit status 2, nothing sent."""

from pathlib import Path

import pytest

from tools.ctl.__main__ import main
from tools.ctl.settings import load_ctl_settings

NUMBERS = "13800138000\n"


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMS_API_URL", "SMS_API_KEY", "SMS_AMQP_URL", "SMS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    file = tmp_path / "numbers.csv"
    file.write_text(NUMBERS)
    return str(file)


def _refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMS_API_URL", "127.0.0.1:8080"),
        ("SMS_API_URL", "https://"),
        ("SMS_API_URL", "https://user:password@example.com"),
        ("SMS_API_KEY", "schlüssel"),
        ("SMS_DEFAULT_REGION", "China"),
    ],
)
def test_a_bad_setting_is_named(
    name: str, value: str, numbers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    said = _refusal(capsys, "send", numbers, "--content", "x")
    assert said.startswith(f"smsctl: bad settings: {name}: ")
    assert "password" not in said
    assert "schlüssel" not in said


def test_settings_of_other_commands_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_AMQP_URL", "nonsense")
    monkeypatch.setenv("SMS_API_URL", "https://sms.example.com/")
    monkeypatch.setenv("SMS_API_KEY", "")
    settings = load_ctl_settings()
    assert settings.api_url == "https://sms.example.com"
    assert settings.api_key is None


def test_the_broker_commands_name_the_brokers_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMS_AMQP_URL", "nonsense")
    assert "SMS_AMQP_URL" in _refusal(capsys, "topology")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "--content, --template, or both"),
        (("--content", "x", "--send-at", "tomorrow"), "not a time: 'tomorrow'"),
        (("--content", "x", "--idempotency-key", "two words"), "an idempotency key has"),
        (("--content", "$name"), "no column of that name"),
    ],
)
def test_options_that_cannot_be_used_are_explained(
    options: tuple[str, ...], complaint: str, numbers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in _refusal(capsys, "send", numbers, *options)


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.csv")
    assert f"{missing}: No such file" in _refusal(capsys, "send", missing, "--content", "x")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("add", "a"), "the template's text or --file"),
        (("add", "a", "costs $ 5"), "a lone $"),
        (("add", "a", "x" * 5001), "1 to 5000 characters"),
    ],
)
def test_a_template_that_cannot_be_used_is_explained(
    arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in _refusal(capsys, "templates", *arguments)
