"""Times as people type them: which instant is meant, or why that cannot be said."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.ctl.__main__ import main
from tools.ctl.batches.times import known_zone, read_time, shown
from tools.ctl.errors import UsageError


@pytest.fixture
def machine_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts this process into a zone."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


def understood(text: str, zone: str | None = None) -> str:
    return read_time(text, known_zone(zone) if zone else None).isoformat()


def refusal(text: str, zone: str | None = None) -> str:
    with pytest.raises(UsageError) as refused:
        understood(text, zone)
    return str(refused.value)


def test_a_time_with_an_offset_needs_no_zone(machine_in: Callable[[str], None]) -> None:
    machine_in("UTC")
    assert understood("2026-12-01T09:00+08:00") == "2026-12-01T09:00:00+08:00"
    assert understood("2026-12-01T09:00Z") == "2026-12-01T09:00:00+00:00"


def test_a_time_without_an_offset_is_the_zones(machine_in: Callable[[str], None]) -> None:
    machine_in("America/New_York")
    assert understood("2026-12-01T09:00", "Asia/Shanghai") == "2026-12-01T09:00:00+08:00"
    assert understood("2026-12-01T09:00", "UTC") == "2026-12-01T09:00:00+00:00"


def test_a_time_with_an_offset_is_told_in_the_zone_and_stays_the_same_instant() -> None:
    assert understood("2026-12-01T01:00Z", "Asia/Shanghai") == "2026-12-01T09:00:00+08:00"


def test_without_a_zone_it_is_this_machines(machine_in: Callable[[str], None]) -> None:
    machine_in("Asia/Shanghai")
    assert understood("2026-12-01T09:00") == "2026-12-01T09:00:00+08:00"


@pytest.mark.parametrize("zone", ["UTC", "", "Asia/Shangai"])
def test_a_machine_at_utc_is_no_zone_that_anybody_has_chosen(machine_in: Callable[[str], None], zone: str) -> None:
    machine_in(zone)
    said = refusal("2026-12-01T09:00")
    assert said.startswith("2026-12-01T09:00 is in no zone, and this machine's is UTC: write it as ")
    assert "--zone Asia/Shanghai" in said


@pytest.mark.parametrize("zone", ["Europe/Berlin", None])
def test_a_time_that_is_there_twice_or_never_is_refused(machine_in: Callable[[str], None], zone: str | None) -> None:
    machine_in("Europe/Berlin")
    name = zone or "this machine's zone"
    assert refusal("2026-10-25T02:30", zone) == (
        f"2026-10-25T02:30:00 is there twice in {name}, as the clocks are put back: "
        "write 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"
    )
    assert refusal("2026-03-29T02:30", zone).startswith(f"2026-03-29T02:30:00 does not exist in {name}")
    assert understood("2026-10-25T02:30+01:00") == "2026-10-25T02:30:00+01:00"


@pytest.mark.parametrize(
    ("text", "zone", "line"),
    [
        ("2026-12-01T09:00", "Asia/Shanghai", "2026-12-01 09:00:00 Asia/Shanghai (+08:00) = 2026-12-01 01:00:00 UTC"),
        ("2026-12-01T09:00-03:30", None, "2026-12-01 09:00:00 (-03:30) = 2026-12-01 12:30:00 UTC"),
        ("2026-12-01T09:00Z", None, "2026-12-01 09:00:00 (+00:00) = 2026-12-01 09:00:00 UTC"),
    ],
)
def test_a_time_is_shown_in_its_zone_and_in_utc(text: str, zone: str | None, line: str) -> None:
    assert shown(read_time(text, known_zone(zone) if zone else None)) == line


@pytest.mark.parametrize("name", ["Asia", "Asia/Shangai", "../etc/passwd", "CST-8", "/etc/localtime"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="give a zone by its name"):
        known_zone(name)


def said_by_smsctl(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What it says before it finds that the text cannot be filled in."""
    file = folder / "numbers.csv"
    file.write_text("to\n13800138000\n")
    with pytest.raises(SystemExit):
        main(["send", str(file), "--content", "$name", *options])
    return capsys.readouterr().err


def test_what_was_understood_is_shown_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMS_ZONE", "Asia/Shanghai")
    said = said_by_smsctl(
        tmp_path, capsys, "--send-at", "2030-12-01T09:00", "--expires-at", "2030-12-02T09:00", "--zone", "UTC"
    ).splitlines()
    assert said[:2] == [
        "smsctl: send-at: 2030-12-01 09:00:00 UTC (+00:00) = 2030-12-01 09:00:00 UTC",
        "smsctl: expires-at: 2030-12-02 09:00:00 UTC (+00:00) = 2030-12-02 09:00:00 UTC",
    ]
    assert "the text uses $name" in said[2]
    said = said_by_smsctl(tmp_path, capsys, "--send-at", "2030-12-01T09:00").splitlines()
    assert said[0] == "smsctl: send-at: 2030-12-01 09:00:00 Asia/Shanghai (+08:00) = 2030-12-01 01:00:00 UTC"


def test_a_zone_that_is_none_is_named_by_its_option_or_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by_smsctl(tmp_path, capsys, "--send-at", "2030-12-01T09:00", "--zone", "China")
    assert said == "smsctl: --zone: give a zone by its name, such as Asia/Shanghai or UTC\n"
    monkeypatch.setenv("SMS_ZONE", "China")
    said = said_by_smsctl(tmp_path, capsys, "--send-at", "2030-12-01T09:00")
    assert said == "smsctl: bad settings: SMS_ZONE: give a zone by its name, such as Asia/Shanghai or UTC\n"
