"""What `smsctl providers check` says of a providers file, before anybody uses it."""

from pathlib import Path

import pytest

from tools.ctl.__main__ import main

FILE = """
[providers.aliyun-main]
type = "aliyun"
prefixes = ["+86"]
lanes = ["priority", "bulk"]
[providers.aliyun-main.templates]
7 = { code = "SMS_1" }
[providers.twilio]
type = "twilio"
weight = 3
[providers.vonage]
type = "vonage"
lanes = ["bulk"]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("SMS_PROVIDERS_FILE", "SMS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "providers.toml"
    file.write_text(FILE)
    return str(file)


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["providers", "check", *arguments])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ((), "twilio (weight 3), vonage (weight 1)"),
        (("--lane", "priority"), "twilio (weight 3)"),
        (("--template", "7"), "aliyun-main (weight 1)"),
        (("--template", "8"), "twilio (weight 3), vonage (weight 1)"),
        (("--provider", "vonage"), "vonage (weight 1)"),
        (
            ("--provider", "aliyun-main"),
            "No provider serves this number in the lane bulk of the provider aliyun-main; "
            "no template there for content without a template: aliyun-main",
        ),
        (
            ("--provider", "vonage", "--lane", "priority"),
            "No provider serves this number in the lane priority of the provider vonage",
        ),
    ],
)
def test_a_number_is_said_to_go_where_the_dispatcher_sends_it(
    options: tuple[str, ...], where: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(capsys, file, "--to", "13800138000", *options).splitlines()[-1] == f"13800138000: {where}"


def test_every_provider_is_shown_and_what_was_not_looked_at(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = check(capsys, file)
    assert all(name in out for name in ("aliyun-main", "twilio", "vonage", "+86", "priority, bulk"))
    assert out.endswith("accounts and secrets were not looked at: a sender checks them when it starts\n")


def test_each_number_has_a_line_and_one_that_is_none_says_so(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    *_, first, second, third = check(
        capsys, file, "--to", "+4915112345678", "--to", "12", "--to", "+8613800138000", "--template", "7"
    ).splitlines()
    assert first == "+4915112345678: twilio (weight 3), vonage (weight 1)"
    assert second.startswith("12: ")
    assert "weight" not in second
    assert third == "+8613800138000: aliyun-main (weight 1)"


@pytest.mark.parametrize(
    ("change", "options", "complaint"),
    [
        ("weight = 0", (), "providers.twilio.weight"),
        ("weight = 3", ("--provider", "nobody"), "there is no provider nobody; there is aliyun-main, twilio, vonage"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    change: str, options: tuple[str, ...], complaint: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(file).write_text(FILE.replace("weight = 3", change))
    with pytest.raises(SystemExit) as ended:
        main(["providers", "check", file, *options])
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
