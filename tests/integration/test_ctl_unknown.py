"""smsctl unknown against both databases and a real broker; with the services where a number is sent again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.domain.states import State
from shared.topology import DeadLetterKey
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.handmade_ledger import HandmadeLedger, letter_ids, number, put_letters
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import TIERS_S, Trio, settings_for
from tools.ctl.__main__ import main

STATES = [State.SENT, State.UNKNOWN, State.UNKNOWN, State.UNKNOWN, State.FAILED]
Unknown = Callable[..., tuple[int, str]]


def ctl(*arguments: str) -> int:
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def books(database_url: str, vhost: Vhost, monkeypatch: pytest.MonkeyPatch) -> HandmadeLedger:
    monkeypatch.setenv("SMS_DATABASE_URL", database_url)
    monkeypatch.setenv("SMS_AMQP_URL", vhost.amqp_url)
    monkeypatch.setenv("SMS_RETRY_TIERS_S", TIERS_S)
    ctl("topology")
    return HandmadeLedger(database_url)


@pytest.fixture
def unknown(capsys: pytest.CaptureFixture[str]) -> Unknown:
    """Run a command of smsctl unknown: its exit status, and all that it said."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status = ctl("unknown", *arguments)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def held(books: HandmadeLedger, vhost: Vhost) -> str:
    """A batch with three unclear numbers (rows 1 to 3) and their letters."""
    batch_id = books.batch(STATES)
    put_letters(vhost, DeadLetterKey.UNKNOWN, [f"{batch_id}:{row}" for row in (1, 2, 3)])
    return batch_id


def fits(batch_id: str) -> bool:
    return ctl("audit", batch_id) == 0


def test_the_list_counts_by_code_and_masks_numbers(books: HandmadeLedger, vhost: Vhost, unknown: Unknown) -> None:
    assert unknown("list") == (0, "no unclear number\n")
    first, second = books.batch(STATES), books.batch(STATES)
    books.execute("UPDATE messages SET error_code = 'sender_died' WHERE batch_id = :id AND row_no = 2", id=first)
    status, said = unknown("list")
    assert status == 0
    assert [line.split("│")[1:3] for line in said.splitlines() if "total" in line] == [[" total       ", "       6 "]]
    for batch_id in (first, second):
        assert f"{batch_id}:1" in said
    assert "+86138****0001" in said
    assert number(1) not in said
    _status, said = unknown("list", first, "--limit", "1")
    assert f"{first}:1" in said
    assert f"{first}:2" not in said
    assert second not in said


@pytest.mark.parametrize(
    ("decision", "state"),
    [("sent", "sent"), pytest.param("failed", "failed", marks=pytest.mark.large), ("resend", "pending")],
)
def test_a_batch_is_resolved_with_its_counters_and_letters_once(
    books: HandmadeLedger, vhost: Vhost, unknown: Unknown, decision: str, state: str
) -> None:
    batch_id, other = held(books, vhost), held(books, vhost)
    arguments = ("resolve", batch_id, "--as", decision, "--yes", "--reason", "asked the provider on +8613800138000")
    status, said = unknown(*arguments)
    assert status == 0
    assert f"3 resolved as {decision}" in said
    assert "3 letters taken out" in said
    rows = books.rows(batch_id, "state, attempt, decision, error_reason")
    assert [row[:3] for row in rows[1:4]] == [(state, 1, decision)] * 3
    assert all(
        "An operator decided" in row[3] and "asked the provider on +86138****8000" in row[3] for row in rows[1:4]
    )
    assert rows[0][0] == "sent"
    assert books.of_batch(batch_id, "state, n_unknown")[:2] == ("running" if decision == "resend" else "finished", 0)
    assert letter_ids(vhost, "sms.unknown") == [f"{other}:{row}" for row in (1, 2, 3)]
    assert fits(batch_id)
    status, said = unknown(*arguments)
    assert status == 0
    assert f"0 resolved as {decision}" in said
    assert "0 letters taken out" in said
    assert books.rows(other, "state") == [("sent",), ("unknown",), ("unknown",), ("unknown",), ("failed",)]
    assert fits(other)


def test_one_row_one_number_one_code_or_all(books: HandmadeLedger, vhost: Vhost, unknown: Unknown) -> None:
    first, second = held(books, vhost), held(books, vhost)
    books.execute("UPDATE messages SET error_code = 'http_500' WHERE row_no = 3")
    assert "1 would be resolved as sent" in unknown("resolve", f"{first}:1", "--as", "sent", "--dry-run")[1]
    assert len(letter_ids(vhost, "sms.unknown")) == 6
    assert "1 resolved as sent" in unknown("resolve", f"{first}:1", "--as", "sent")[1]
    assert "1 resolved as failed" in unknown("resolve", first, "--number", number(2)[3:], "--as", "failed")[1]
    assert "2 resolved as sent" in unknown("resolve", "--all", "--code", "http_500", "--as", "sent")[1]
    assert [row[0] for row in books.rows(first, "state")] == ["sent", "sent", "failed", "sent", "failed"]
    assert letter_ids(vhost, "sms.unknown") == [f"{second}:1", f"{second}:2"]
    assert "1 resolved as failed" in unknown("resolve", "--number", number(2), "--as", "failed")[1]
    assert "1 resolved as sent" in unknown("resolve", "--all", "--as", "sent")[1]
    assert letter_ids(vhost, "sms.unknown") == []
    assert fits(first)
    assert fits(second)


def test_what_was_cut_off_before_the_letters_is_finished_by_the_same_command(
    books: HandmadeLedger, vhost: Vhost, unknown: Unknown, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = held(books, vhost)
    with monkeypatch.context() as without_broker:
        without_broker.setenv("SMS_AMQP_URL", "amqp://127.0.0.1:1/")
        status, said = unknown("resolve", batch_id, "--as", "sent")
    assert (status, "the same command once more removes the letters" in said) == (1, True)
    assert len(letter_ids(vhost, "sms.unknown")) == 3
    assert books.of_batch(batch_id, "n_sent, n_unknown") == (4, 0)
    status, said = unknown("resolve", batch_id, "--as", "sent")
    assert (status, "0 resolved as sent" in said, "3 letters taken out" in said) == (0, True, True)
    assert letter_ids(vhost, "sms.unknown") == []


def test_more_than_one_transaction_can_hold(books: HandmadeLedger, vhost: Vhost, unknown: Unknown) -> None:
    batch_id = books.batch([State.UNKNOWN] * 1201)
    put_letters(vhost, DeadLetterKey.UNKNOWN, [f"{batch_id}:{row}" for row in range(1201)] + ["not one of ours"])
    assert "1201 resolved as failed" in unknown("resolve", batch_id, "--as", "failed")[1]
    assert books.of_batch(batch_id, "n_failed, n_unknown, state") == (1201, 0, "finished")
    assert letter_ids(vhost, "sms.unknown") == ["not one of ours"]


def test_a_cancelled_batch_is_not_sent_again_and_a_paused_one_waits(
    books: HandmadeLedger, vhost: Vhost, unknown: Unknown
) -> None:
    cancelled, paused = books.batch(STATES, state="cancelled"), books.batch([*STATES, State.PENDING], state="paused")
    status, said = unknown("resolve", cancelled, "--as", "resend", "--yes")
    assert status == 1
    assert f"batch {cancelled} was cancelled: its numbers can be resolved as sent or failed only" in said
    status, said = unknown("resolve", "--all", "--as", "resend", "--yes")
    assert status == 0
    assert "3 are left out: their batches were cancelled" in said
    assert "3 resolved as resend" in said
    assert books.of_batch(cancelled, "state, n_unknown, n_pending") == ("cancelled", 3, 0)
    assert books.of_batch(paused, "state, n_unknown, n_pending") == ("paused", 0, 4)
    assert "3 resolved as failed" in unknown("resolve", cancelled, "--as", "failed")[1]


def test_sending_again_is_confirmed_and_the_target_is_named(
    books: HandmadeLedger, vhost: Vhost, unknown: Unknown
) -> None:
    batch_id = held(books, vhost)
    status, said = unknown("resolve", batch_id, "--as", "resend")
    assert (status, "confirm it with --yes" in said) == (2, True)
    for arguments in ((), ("nonsense",), ("--all", batch_id), ("--number", "nonsense"), ("--all", "--as", "gone")):
        assert unknown("resolve", *arguments, *(() if "--as" in arguments else ("--as", "sent")))[0] == 2
    assert books.of_batch(batch_id, "n_unknown") == (3,)


def test_what_is_sent_again_goes_out_and_a_letter_moved_back_by_hand_adds_no_text(
    books: HandmadeLedger, vhost: Vhost, database_url: str, start: Start, simulator: ServiceProcess, unknown: Unknown
) -> None:
    trio = Trio(vhost, simulator, settings_for(vhost, database_url, simulator), start).up(1)
    trio.misbehave("500")
    batch_id = trio.post([number(row) for row in range(4)])
    assert trio.finished(batch_id) == {"unknown": 4}
    eventually(lambda: len(trio.letters("sms.unknown")) == 4)
    trio.misbehave("accept")
    by_row = {int(fields["row"]): fields for _properties, fields in trio.take("sms.unknown")}
    assert unknown("resolve", f"{batch_id}:0", "--as", "sent")[0] == 0
    assert unknown("resolve", f"{batch_id}:1", "--as", "failed")[0] == 0
    assert unknown("resolve", f"{batch_id}:2", "--as", "resend", "--yes")[0] == 0
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent") == 2)
    for row in (0, 2, 3):
        trio.publish("sms.outbound", "bulk", json.dumps(by_row[row]).encode())
    eventually(lambda: trio.letters("sms.unknown") == {f"{batch_id}:3"})
    eventually(lambda: not any(trio.depths()[f"sms.outbound.{lane}"] for lane in ("bulk", "priority")))
    assert trio.finished(batch_id) == {"sent": 2, "failed": 1, "unknown": 1}
    assert trio.provider_calls(batch_id) == {f"{batch_id}:{row}": calls for row, calls in enumerate([1, 1, 2, 1])}
    assert ctl("audit", batch_id, "--simulator", simulator.url) == 0
    trio.publish("sms.outbound", "bulk", json.dumps(by_row[1]).encode())
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent") == 3)
    assert ctl("audit", batch_id, "--simulator", simulator.url) == 0


def test_send_can_ask_for_a_second_try_of_what_is_unclear(
    books: HandmadeLedger,
    vhost: Vhost,
    database_url: str,
    start: Start,
    simulator: ServiceProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {**settings_for(vhost, database_url, simulator), "SMS_MAX_ATTEMPTS": "50"}
    trio = Trio(vhost, simulator, settings, start).up(1)
    trio.misbehave("500")
    monkeypatch.setenv("SMS_API_URL", trio.api.url)
    file = tmp_path / "numbers.csv"
    file.write_text("to\n13800000000\n")
    assert ctl("send", str(file), "--content", "text", "--no-follow") == 0
    assert ctl("send", str(file), "--content", "text", "--no-follow", "--on-unknown", "resend") == 0
    batches = eventually(lambda: found if len(found := books.batches("id, on_unknown")) == 2 else None)
    wanted = {str(on_unknown): str(batch_id) for batch_id, on_unknown in batches}
    assert trio.finished(wanted["hold"]) == {"unknown": 1}
    eventually(lambda: trio.provider_calls(wanted["resend"]).get(f"{wanted['resend']}:0", 0) > 1)
    trio.misbehave("accept")
    assert trio.finished(wanted["resend"]) == {"sent": 1}
    assert trio.provider_calls(wanted["hold"]) == {f"{wanted['hold']}:0": 1}
    assert ctl("audit", "--simulator", simulator.url) == 0
