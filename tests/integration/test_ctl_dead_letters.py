"""smsctl dead-letters against the real services: seen, sent again, thrown away, exported; on both brokers."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.messages import OUTBOUND_TYPE, outbound_body
from shared.topology import BATCHES, DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, OUTBOUND
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.handmade_ledger import letter_ids
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for
from tools.ctl.__main__ import main

NUMBER = "+8613800130001"
Ctl = Callable[..., tuple[int, str]]


@pytest.fixture
def trio(each_vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    return Trio(each_vhost, simulator, settings_for(each_vhost, postgres_url, simulator), start).up(1)


@pytest.fixture
def letters(trio: Trio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Run a command of smsctl dead-letters: its exit status, and all that it said."""
    for name, value in trio.settings.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, command: str = "dead-letters") -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([command, *arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return run


def numbers(count: int) -> list[str]:
    return [f"+861380013{row:04d}" for row in range(count)]


def refused(trio: Trio, count: int) -> str:
    """A batch whose numbers are all dead letters, with a provider that has become well since."""
    before = trio.depths()[DEAD_LETTER]
    trio.misbehave("refuse")
    batch_id = trio.post(numbers(count))
    assert trio.finished(batch_id) == {"failed": count}
    eventually(lambda: trio.depths()[DEAD_LETTER] == before + count)
    trio.misbehave("accept")
    return batch_id


def test_letters_are_counted_sent_again_once_each_and_gone(trio: Trio, letters: Ctl) -> None:
    batch_id = refused(trio, 30)
    status, said = letters("list", "--json")
    assert status == 0
    (group,) = json.loads(said)
    assert (group["code"], group["letters"], group["provider"]) == ("number_unreachable", 30, "default")
    assert group["example"].startswith(batch_id)
    assert letters("replay", batch_id, "--dry-run") == (0, "30 would be sent again, of 30 chosen and 30 there\n")
    assert trio.finished(batch_id) == {"failed": 30}
    assert letters("replay", "--all") == (0, "30 sent again, of 30 chosen and 30 there\n")
    assert trio.finished(batch_id) == {"sent": 30}
    assert trio.provider_accepted(batch_id) == {f"{batch_id}:{row}": 1 for row in range(30)}
    assert letters("list") == (0, "no dead letter\n")
    assert letters("replay", "--all") == (0, "0 sent again, of 0 chosen and 0 there\n")
    assert letters("--strict", command="audit")[0] == 0


def test_only_what_is_chosen_is_sent_again_and_the_rest_stays(trio: Trio, letters: Ctl) -> None:
    first, second = refused(trio, 8), refused(trio, 5)
    before = letter_ids(trio.vhost, DEAD_LETTER)
    assert letters("replay", f"{first}:3")[1] == "1 sent again, of 1 chosen and 13 there\n"
    assert trio.finished(first) == {"failed": 7, "sent": 1}
    assert letters("replay", second, "--code", "another")[1] == "0 sent again, of 0 chosen and 12 there\n"
    assert letters("replay", "--number", NUMBER)[1] == "2 sent again, of 2 chosen and 12 there\n"
    assert trio.finished(first) == {"failed": 6, "sent": 2}
    assert trio.finished(second) == {"failed": 4, "sent": 1}
    assert letters("replay", "--older-than", "1h")[1] == "0 sent again, of 0 chosen and 10 there\n"
    gone = {f"{first}:3", f"{first}:1", f"{second}:1"}
    assert sorted(letter_ids(trio.vhost, DEAD_LETTER)) == sorted(set(before) - gone)
    assert letters("replay", "--newer-than", "1h", "--provider", "default")[1].startswith("10 sent again")
    assert trio.finished(first) == {"sent": 8}


def test_stale_letters_are_taken_out_and_what_cannot_be_sent_says_why(trio: Trio, letters: Ctl) -> None:
    batch_id, cancelled = refused(trio, 3), refused(trio, 2)
    body = outbound_body(batch_id, 0, 1, "+86138****0000", "bulk")
    trio.publish(OUTBOUND, "bulk", body, type=OUTBOUND_TYPE, message_id=f"{batch_id}:0")  # moved by hand, a copy
    assert eventually(lambda: trio.finished(batch_id).get("sent") == 1)
    trio.publish(OUTBOUND, "bulk", b"nonsense", message_id="who knows")
    eventually(lambda: trio.depths()[DEAD_LETTER] == 6)
    status, said = letters("replay", "--all")
    assert status == 0
    assert said.splitlines() == [
        "4 sent again, of 6 chosen and 6 there",
        "1 taken out, for they are stale: tried again since",
        "1 left: nobody can read them",
    ]
    assert trio.finished(batch_id) == {"sent": 3}
    assert trio.finished(cancelled) == {"sent": 2}
    assert trio.provider_accepted(batch_id) == {f"{batch_id}:{row}": 1 for row in range(3)}
    assert letter_ids(trio.vhost, DEAD_LETTER) == ["who knows"]


def test_what_is_thrown_away_is_kept_in_the_history_with_the_reason(trio: Trio, letters: Ctl) -> None:
    batch_id = refused(trio, 3)
    assert letters("discard", "--all", "--reason", "x")[0] == 2  # nobody there to ask
    status, said = letters("discard", f"{batch_id}:1", "--reason", f"{NUMBER} moved away", "--yes")
    assert (status, said) == (0, "1 thrown away, of 3 there\n")
    assert letter_ids(trio.vhost, DEAD_LETTER) == [f"{batch_id}:0", f"{batch_id}:2"]
    assert trio.finished(batch_id) == {"failed": 3}
    said = letters("show", f"{batch_id}:1")[1]
    assert "number_unreachable" in said
    assert "thrown away: +86138****0001 moved away" in said
    assert NUMBER not in said


def test_the_history_of_a_number_has_each_attempt_with_its_sender(trio: Trio, letters: Ctl) -> None:
    batch_id = trio.post(["+8613800139003"])  # 503 once, then taken
    assert trio.finished(batch_id) == {"sent": 1}
    status, said = letters("show", f"{batch_id}:0")
    assert status == 0
    assert said.count("sender@") == 2
    lines = [line for line in said.splitlines() if "sender@" in line]
    assert ["retrying" in lines[0], "sent" in lines[1]] == [True, True]
    assert letters("show", f"{batch_id}:9")[0] == 1
    assert letters("show", batch_id)[0] == 2


def test_letters_are_exported_and_stay(trio: Trio, letters: Ctl, tmp_path: Path) -> None:
    batch_id = refused(trio, 4)
    table, lines = tmp_path / "letters.csv", tmp_path / "letters.jsonl"
    assert letters("export", str(table))[1] == "4 letters written\n"
    assert letters("export", str(lines), "--format", "jsonl")[1] == "4 letters written\n"
    with table.open() as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row["message_id"])
    assert [row["message_id"] for row in rows] == [f"{batch_id}:{row}" for row in range(4)]
    assert rows[1]["recipient"] == "+86138****0001"
    assert [json.loads(line)["code"] for line in lines.read_text().splitlines()] == ["number_unreachable"] * 4
    assert NUMBER not in table.read_text() + lines.read_text()
    assert trio.depths()[DEAD_LETTER] == 4


def test_a_batch_that_had_no_template_is_sent_when_it_has_one(trio: Trio, letters: Ctl) -> None:
    batch_id = trio.post(numbers(3), template_id=1, content=None)
    assert trio.finished(batch_id) == {"failed": 3}
    eventually(lambda: trio.depths()[DEAD_LETTER_BATCHES_QUEUE] == 1)
    assert json.loads(letters("list", "--json")[1])[0]["code"] == "template_unknown"
    assert letters("add", "welcome", "Hello", command="templates")[0] == 0
    assert letters("replay", "--batches", "--all")[1] == "1 sent again, of 1 chosen and 1 there\n"
    assert eventually(lambda: trio.finished(batch_id) == {"sent": 3})
    assert trio.depths()[DEAD_LETTER_BATCHES_QUEUE] == 0


def test_a_batch_letter_that_nobody_can_read_keeps_no_other_from_being_sent(trio: Trio, letters: Ctl) -> None:
    trio.publish(BATCHES, BATCHES, b"nonsense", message_id="x")
    batch_id = trio.post(numbers(2), template_id=1, content=None)
    eventually(lambda: trio.depths()[DEAD_LETTER_BATCHES_QUEUE] == 2)
    letters("add", "welcome", "Hello", command="templates")
    status, said = letters("replay", "--batches", "--all")
    assert (status, said.splitlines()) == (
        0,
        ["1 sent again, of 2 chosen and 2 there", "1 left: nobody can read them"],
    )
    assert eventually(lambda: trio.finished(batch_id) == {"sent": 2})
    assert letter_ids(trio.vhost, DEAD_LETTER_BATCHES_QUEUE) == ["x"]


def test_a_ledger_that_is_not_there_is_named(letters: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_DATABASE_URL", "postgresql://sms:made-up@127.0.0.1:1/sms")
    status, said = letters("list")
    assert status == 1
    assert said.startswith("smsctl: cannot reach the ledger: ")
    assert "SMS_DATABASE_URL" in said
    assert "made-up" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("replay", "--all", "--code", "x"),
        ("replay", "--older-than", "soon"),
        ("replay", "not-a-batch"),
        ("replay", "--number", "12"),
    ],
)
def test_what_is_not_clear_is_refused_before_anything_is_done(letters: Ctl, arguments: tuple[str, ...]) -> None:
    status, said = letters(*arguments)
    assert status == 2
    assert said.startswith("smsctl: ")
