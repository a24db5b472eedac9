"""smsctl audit against both databases, a real broker and the simulator: each discrepancy is made, and named."""

import json
from collections.abc import Callable

import pytest

from shared.clock import now_ms
from shared.domain.states import State
from shared.ids import new_batch_id
from shared.topology import DeadLetterKey
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.handmade_ledger import HandmadeLedger, call_provider, letter_ids, put_letters
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import TIERS_S, Trio
from tools.ctl.__main__ import main

STATES = [State.SENT] * 5 + [State.FAILED] * 2 + [State.UNKNOWN, State.INVALID, State.EXPIRED]
Audit = Callable[..., tuple[int, str]]


@pytest.fixture
def handmade(database_url: str, vhost: Vhost, monkeypatch: pytest.MonkeyPatch) -> HandmadeLedger:
    monkeypatch.setenv("SMS_DATABASE_URL", database_url)
    monkeypatch.setenv("SMS_AMQP_URL", vhost.amqp_url)
    monkeypatch.setenv("SMS_RETRY_TIERS_S", TIERS_S)
    monkeypatch.delenv("SMS_SIMULATOR_URL", raising=False)
    main_status("topology")
    return HandmadeLedger(database_url)


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str]) -> Audit:
    """Run an audit: its exit status, and what it said."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status = main_status("audit", *arguments)
        return status, capsys.readouterr().out

    return run


def main_status(*arguments: str) -> int:
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def lettered(handmade: HandmadeLedger, vhost: Vhost) -> str:
    """A batch in which everything is as it should be."""
    batch_id = handmade.batch(STATES)
    put_letters(vhost, DeadLetterKey.OUTBOUND, [f"{batch_id}:5", f"{batch_id}:6"])
    put_letters(vhost, DeadLetterKey.UNKNOWN, [f"{batch_id}:7"])
    return batch_id


def called(batch_id: str, simulator: ServiceProcess) -> None:
    """The calls that the provider saw of such a batch."""
    call_provider(simulator.url, batch_id, range(5))
    call_provider(simulator.url, batch_id, [5, 6], ending="9005")
    call_provider(simulator.url, batch_id, [7], ending="9006")


def test_what_fits_is_status_0_and_the_letters_stay(
    handmade: HandmadeLedger, vhost: Vhost, simulator: ServiceProcess, audit: Audit
) -> None:
    first, second = (
        lettered(handmade, vhost),
        handmade.batch([State.QUEUED, State.RETRYING, State.PENDING, State.SENDING]),
    )
    called(first, simulator)
    call_provider(simulator.url, second, [1, 3])
    for arguments in (
        [],
        [first],
        [first, second],
        ["--simulator", simulator.url],
        ["--strict", "--simulator", simulator.url],
    ):
        status, said = audit(*arguments)
        assert status == 0, said
        assert said.endswith(": 0 discrepancies, 0 notes\n")
    assert "2 batches: 0 discrepancies" in said
    assert letter_ids(vhost, "sms.dead-letter") == [f"{first}:5", f"{first}:6"]
    assert letter_ids(vhost, "sms.unknown") == [f"{first}:7"]


def test_depths_are_shown_beside_the_ledger(handmade: HandmadeLedger, vhost: Vhost, audit: Audit) -> None:
    batch_id = lettered(handmade, vhost)
    handmade.batch([State.QUEUED] * 3)
    _status, said = audit()
    cells = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:4]]
        for line in said.splitlines()
        if "sms." in line and "│" in line
    }
    assert cells["sms.dead-letter"] == ["2", "2 failed"]
    assert cells["sms.unknown"] == ["1", "1 unknown"]
    assert cells["sms.outbound.priority"] == ["0", "3 queued"]
    assert "no simulator is named" in said
    _status, said = audit("--json", batch_id)
    found = json.loads(said)
    assert found["batches"] == 1
    assert {"queue": "sms.dead-letter", "ready": 2, "state": "failed", "numbers": 2} in found["queues"]
    assert found["discrepancies"] == found["notes"] == []


CONTRADICTIONS = [
    ("UPDATE batches SET n_sent = n_sent + 1 WHERE id = :id", "the counter of sent says 6, the rows come to 5"),
    ("UPDATE batches SET n_sent = n_sent + 1 WHERE id = :id", "the counters add up to 11, the batch has 10 recipients"),
    (
        "UPDATE messages SET state = 'expired' WHERE batch_id = :id AND row_no = 0",
        "the counter of expired says 1, the rows come to 2: 1 number",
    ),
    (
        "DELETE FROM messages WHERE batch_id = :id AND row_no IN (2, 3, 5)",
        "rows that are said to be written are not there: 3 numbers (rows 2-3, 5)",
    ),
    (
        "DELETE FROM messages WHERE batch_id = :id AND row_no IN (0, 9)",
        "rows that are said to be written are not there: 2 numbers (rows 0, 9)",
    ),
    ("UPDATE batches SET rows_written = 8 WHERE id = :id", "2 more rows than the 8 that are written"),
    ("UPDATE batches SET state = 'running' WHERE id = :id", "every number is final, and the batch is running"),
    ("UPDATE batches SET finished_at_ms = NULL WHERE id = :id", "the batch is finished, and does not say since when"),
    ("UPDATE batches SET n_sent = 4, n_queued = 1 WHERE id = :id", "the batch is finished, and 1 numbers are not"),
]


def test_a_ledger_that_contradicts_itself_is_named_batch_by_batch(handmade: HandmadeLedger, audit: Audit) -> None:
    fitting = handmade.batch(STATES)
    wrong = [(handmade.batch(STATES), statement, said) for statement, said in CONTRADICTIONS]
    assert audit()[0] == 0
    for batch_id, statement, _said in wrong:
        handmade.execute(statement, id=batch_id)
    status, output = audit()
    assert status == 1
    for batch_id, _statement, said in wrong:
        assert f"\n{batch_id}: {said}" in output
    assert f"\n{fitting}:" not in output
    assert "13800000" not in output
    assert audit(fitting)[0] == 0
    assert audit(wrong[0][0])[0] == 1


def test_numbers_that_stand_still_are_named(handmade: HandmadeLedger, audit: Audit) -> None:
    still: list[tuple[State, dict[str, object]]] = [
        (State.QUEUED, {}),
        (State.SENDING, {}),
        (State.RETRYING, {}),
        (State.PENDING, {}),
        (State.QUEUED, {"state": "cancelled"}),
        (State.PENDING, {"state": "scheduled", "send_at_ms": 1000}),
    ]
    named = [(handmade.batch([State.SENT, state, state], **fields), state) for state, fields in still]
    paused = handmade.batch([State.PENDING], state="paused")
    later = handmade.batch([State.PENDING], state="scheduled", send_at_ms=now_ms() + 10**7)
    assert audit()[0] == 0
    status, said = audit("--stuck-after", "30")
    assert status == 1
    for batch_id, state in named:
        assert f"\n{batch_id}: {state} and standing still: 2 numbers (rows 1-2)" in said
    assert paused not in said
    assert later not in said


def test_a_retry_stands_still_only_after_its_time_and_pending_numbers_only_with_their_batch(
    handmade: HandmadeLedger, audit: Audit
) -> None:
    retrying, pending = handmade.batch([State.RETRYING]), handmade.batch([State.SENT, State.PENDING])
    assert audit("--stuck-after", "30")[0] == 1
    handmade.execute("UPDATE messages SET retry_at_ms = :at WHERE batch_id = :id", at=now_ms() + 60_000, id=retrying)
    handmade.execute(
        "UPDATE messages SET updated_at_ms = :at WHERE batch_id = :id AND row_no = 0", at=now_ms(), id=pending
    )
    status, said = audit("--stuck-after", "30")
    assert (status, "standing still" in said) == (0, False)


def test_recipients_that_never_got_a_row(handmade: HandmadeLedger, audit: Audit) -> None:
    batch_id = handmade.batch([State.SENT] * 3, recipients=5, n_pending=2, state="running", finished_at_ms=None)
    assert audit()[0] == 0
    status, said = audit("--stuck-after", "30")
    assert status == 1
    assert f"{batch_id}: recipients whose row was never written: 2 numbers (rows 3-4)" in said


def test_a_batch_that_was_given_up_halfway_fits(handmade: HandmadeLedger, vhost: Vhost, audit: Audit) -> None:
    fields = {"recipients": 8, "rows_written": 8, "n_failed": 5, "error_code": "not_storable"}
    batch_id = handmade.batch([State.SENT] * 3, **fields)
    put_letters(vhost, DeadLetterKey.BATCHES, [batch_id])
    assert audit("--strict")[0] == 0


def test_letters_that_are_gone_are_notes(handmade: HandmadeLedger, vhost: Vhost, audit: Audit) -> None:
    batch_id = lettered(handmade, vhost)
    failed = handmade.batch([State.FAILED], error_code="no_content")
    vhost.broker.api("DELETE", f"queues/{vhost.name}/sms.dead-letter/contents")
    vhost.broker.api("DELETE", f"queues/{vhost.name}/sms.unknown/contents")
    status, said = audit()
    assert status == 0
    assert f"note: {batch_id}: failed, and its letter is not in sms.dead-letter: 2 numbers (rows 5-6)" in said
    assert f"note: {batch_id}: unknown, and its letter is not in sms.unknown: 1 number (row 7)" in said
    assert f"note: {failed}: it could not be sent, and its letter is not in sms.dead-letter.batches" in said
    assert audit("--strict")[0] == 1
    assert audit("--strict", batch_id)[0] == 1


def test_a_letter_is_not_missed_where_none_is_to_be_expected(handmade: HandmadeLedger, audit: Audit) -> None:
    excuses = ["updated_at_ms = updated_at_ms - 604800000", "decision = 'failed'", "attempt = 0"]
    batch_ids = [handmade.batch([State.FAILED]) for _ in excuses]
    assert "0 discrepancies, 3 notes" in audit("--strict")[1]
    for batch_id, excuse in zip(batch_ids, excuses, strict=True):
        handmade.execute(f"UPDATE messages SET {excuse} WHERE batch_id = :id", id=batch_id)
    assert audit("--strict")[0] == 0


def test_letters_of_what_ended_otherwise_or_is_not_there_are_notes(
    handmade: HandmadeLedger, vhost: Vhost, audit: Audit
) -> None:
    batch_id, stranger = handmade.batch([State.SENT, State.QUEUED]), new_batch_id(now_ms())
    put_letters(vhost, DeadLetterKey.UNKNOWN, [f"{batch_id}:{row}" for row in (0, 1, 2)])
    put_letters(vhost, DeadLetterKey.OUTBOUND, [f"{stranger}:0", "not one of ours"])
    put_letters(vhost, DeadLetterKey.BATCHES, [batch_id])
    status, said = audit()
    assert status == 0
    assert f"note: {batch_id}: a letter in sms.unknown, and the number is sent: 1 number (row 0)" in said
    assert f"note: {batch_id}: a letter in sms.unknown, and there is no such row: 1 number (row 2)" in said
    assert f"note: {batch_id}: a letter in sms.dead-letter.batches, and the batch was written" in said
    assert f"note: {stranger}: there are dead letters of it, and the ledger has no such batch" in said
    assert "note: sms.dead-letter: 1 letters name no number and no batch" in said
    assert "0 discrepancies, 5 notes" in said
    assert audit("--strict")[0] == 1


def test_more_letters_than_are_looked_at_are_not_missed(handmade: HandmadeLedger, vhost: Vhost, audit: Audit) -> None:
    lettered(handmade, vhost)
    status, said = audit("--letters", "1")
    assert status == 0
    assert "note: sms.dead-letter: holds more letters than were looked at" in said
    assert "1 note\n" in said


DOCTORED = [
    ([], "", "state = 'sent', attempt = 1 WHERE row_no = 9", "sent, and the provider accepted no call", 9),
    ([7], "9006", "", "the provider was called more often than the ledger has attempts", 7),
    ([8], "9005", "", "invalid, which never comes to a call, and the provider was called", 8),
    (
        [0],
        "0000",
        "attempt = 2 WHERE row_no = 0",
        "the provider accepted it more than once, and the ledger does not say why",
        0,
    ),
    ([5], "0000", "attempt = 2 WHERE row_no = 5", "failed, and the provider accepted it", 5),
    ([11], "0000", "", "the provider was called, and there is no such row", 11),
]


def test_a_provider_that_saw_something_else_is_named(
    handmade: HandmadeLedger, simulator: ServiceProcess, audit: Audit
) -> None:
    fitting, *batch_ids = [handmade.batch(STATES) for _ in range(1 + len(DOCTORED))]
    for batch_id in (fitting, *batch_ids):
        called(batch_id, simulator)
    assert audit("--simulator", simulator.url)[0] == 0
    for batch_id, (rows, ending, change, _what, _row) in zip(batch_ids, DOCTORED, strict=True):
        call_provider(simulator.url, batch_id, rows, ending)
        if change:
            handmade.execute(f"UPDATE messages SET {change} AND batch_id = :id", id=batch_id)
    status, said = audit("--simulator", simulator.url)
    assert status == 1
    for batch_id, (_rows, _ending, _change, what, row) in zip(batch_ids, DOCTORED, strict=True):
        assert f"\n{batch_id}: {what}: 1 number (row {row})" in said
    assert f"\n{fitting}:" not in said


def test_a_second_text_that_the_ledger_explains_is_none(
    handmade: HandmadeLedger, simulator: ServiceProcess, audit: Audit
) -> None:
    allowed = handmade.batch([State.SENT], on_unknown="resend")
    decided, repeated = handmade.batch([State.SENT]), handmade.batch([State.SENT])
    for batch_id in (allowed, decided, repeated):
        call_provider(simulator.url, batch_id, [0, 0])
        handmade.execute("UPDATE messages SET attempt = 2 WHERE batch_id = :id", id=batch_id)
    handmade.execute("UPDATE messages SET decision = 'resend' WHERE batch_id = :id", id=decided)
    assert audit("--simulator", simulator.url)[0] == 1
    handmade.execute("UPDATE messages SET was_unclear = true WHERE batch_id = :id", id=repeated)
    assert audit("--simulator", simulator.url)[0] == 0


def test_a_simulator_that_has_forgotten_is_one_note(
    handmade: HandmadeLedger, vhost: Vhost, simulator: ServiceProcess, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = lettered(handmade, vhost)
    monkeypatch.setenv("SMS_SIMULATOR_URL", simulator.url)
    status, said = audit()
    assert status == 0
    assert f"note: {batch_id}: the simulator knows no call of it" in said
    assert "0 discrepancies, 1 note\n" in said


def test_what_cannot_be_audited_is_one_line(
    handmade: HandmadeLedger, vhost: Vhost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status, said = main_status("audit", *arguments), capsys.readouterr().err
        assert said.count("\n") == 1
        return status, said

    assert refusal("nonsense") == (2, "smsctl: not a batch's id: 'nonsense'\n")
    assert refusal("--simulator", "nonsense")[0] == 2
    unknown = new_batch_id(now_ms())
    assert refusal(unknown) == (1, f"smsctl: the ledger has no batch {unknown}\n")
    handmade.batch([State.SENT])
    assert refusal("--simulator", "http://127.0.0.1:1")[0] == 1
    monkeypatch.setenv("SMS_AMQP_URL", "amqp://user:made-up@127.0.0.1:1/")
    status, said = refusal()
    assert (status, "cannot reach the broker" in said, "made-up" in said) == (1, True, False)


def test_a_queue_that_is_missing_is_named(handmade: HandmadeLedger, vhost: Vhost, audit: Audit) -> None:
    vhost.broker.api("DELETE", f"queues/{vhost.name}/sms.unknown")
    status, said = audit()
    assert status == 1
    assert "sms.unknown: the queue is missing" in said


def test_a_run_of_the_whole_system_fits(
    handmade: HandmadeLedger, vhost: Vhost, database_url: str, start: Start, simulator: ServiceProcess, audit: Audit
) -> None:
    settings = {
        "SMS_AMQP_URL": vhost.amqp_url,
        "SMS_DATABASE_URL": database_url,
        "SMS_PROVIDER_URL": f"{simulator.url}/messages",
        "SMS_PROVIDER_TIMEOUT_S": "1.5",
        "SMS_RETRY_TIERS_S": TIERS_S,
        "SMS_MAX_ATTEMPTS": "3",
    }
    trio = Trio(vhost, simulator, settings, start).up()
    endings = ["0001", "9002", "9003", "9004", "9005", "9006", "9007", "9008", "9009", "9010"]
    batch_id = trio.post([*(f"+861380013{ending}" for ending in endings), "nonsense", "+8613800130001"])
    again = trio.post([f"+861380014{ending}" for ending in endings], on_unknown="resend")
    assert audit("--simulator", simulator.url)[0] == 0
    trio.finished(batch_id)
    trio.finished(again)
    status, said = eventually(lambda: found if (found := audit("--strict", "--simulator", simulator.url)) else None)
    assert (status, "2 batches: 0 discrepancies, 0 notes" in said) == (0, True), said
