"""A running system is upgraded in place: services of this version go on where those of the version before stopped."""

from pathlib import Path

import pytest
import requests

from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.postgres import PostgresServer
from tests.support.processes import ServiceProcess
from tests.support.trio import Trio, settings_for
from tests.support.version_before import TIERS_S, VersionBefore
from tools.ctl.__main__ import main


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite3"
    server = request.getfixturevalue("postgres")
    assert isinstance(server, PostgresServer)
    return server.new_database(migrated=False)


@pytest.fixture
def before(vhost: Vhost, empty_database_url: str) -> VersionBefore:
    before = VersionBefore(Path(__file__).with_name("version_before.json"))
    before.restore(vhost, empty_database_url)
    return before


@pytest.fixture
def trio(before: VersionBefore, vhost: Vhost, empty_database_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    settings = {**settings_for(vhost, empty_database_url, simulator), "SMS_RETRY_TIERS_S": TIERS_S}
    return Trio(vhost, simulator, settings, start).up()


def test_what_the_version_before_left_is_sent_once_each_and_what_it_ended_stays(
    before: VersionBefore, trio: Trio
) -> None:
    batches = before.batches
    # In the queues, in the ledger only, in batch messages that nobody had read, and due by now.
    for name, count in (("under_way", 30), ("priority", 3), ("keyed", 2), ("form", 2), ("scheduled", 2)):
        assert trio.finished(batches[name]) == {"sent": count}, name
        assert trio.provider_calls(batches[name]) == {f"{batches[name]}:{row}": 1 for row in range(count)}, name
    assert trio.finished(batches["waiting"]) == {"sent": 5, "invalid": 1}
    # One of its four attempts was made before.
    assert trio.finished(batches["retrying"]) == {"failed": 2}
    assert set(trio.provider_calls(batches["retrying"]).values()) == {3}

    assert trio.batch(batches["paused"])["status"] == "paused"
    trio.control(batches["paused"], "resume")
    assert trio.finished(batches["paused"]) == {"sent": 4}

    assert trio.finished(batches["cancelled"]) == {"cancelled": 2}
    ended = {"sent": 2, "failed": 1, "unknown": 1, "invalid": 1, "duplicate": 1}
    assert trio.finished(batches["done"]) == ended
    assert not trio.provider_calls(batches["cancelled"])
    assert not trio.provider_calls(batches["done"])
    assert f"{batches['done']}:2" in trio.letters("sms.dead-letter")
    assert trio.letters("sms.unknown") == {f"{batches['done']}:3"}

    texts = {call["reference"]: call["text"] for call in trio.provider_texts(batches["under_way"])}
    assert texts == {f"{batches['under_way']}:{row}": f"N{row} pays $5 & 你好" for row in range(30)}
    # Written by a version to which two dollars were two in a text without variables.
    assert {call["text"] for call in trio.provider_texts(batches["priority"])} == {"shared $$1"}


def test_a_request_that_the_version_before_accepted_is_not_accepted_again(before: VersionBefore, trio: Trio) -> None:
    assert trio.finished(before.batches["keyed"]) == {"sent": 2}
    answer = requests.post(
        f"{trio.api.url}/v1/batches",
        json={"recipients": ["+8613800000000", "+8613800000001"], "content": "keyed"},
        headers={"Idempotency-Key": "order-1"},
        timeout=30,
    )
    assert answer.status_code == 202
    assert answer.json()["batch_id"] == before.batches["keyed"]
    assert set(trio.provider_calls(before.batches["keyed"]).values()) == {1}


def test_its_queues_are_as_this_version_declares_them_and_some_are_new(
    before: VersionBefore, vhost: Vhost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMS_AMQP_URL", vhost.amqp_url)
    monkeypatch.setenv("SMS_RETRY_TIERS_S", TIERS_S)
    with pytest.raises(SystemExit) as ended:
        main(["topology", "--check"])
    assert ended.value.code == 1
    new = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("queue ", "exchange "))]
    assert {line.split()[1] for line in new} == {
        "sms.receipts",
        "sms.receipts.later",
        "sms.receipts.unmatched",
        "sms.inbound",
    }
    assert all(line.endswith(" is missing") for line in new)
    for words in (["topology"], ["topology", "--check"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, capsys.readouterr()
