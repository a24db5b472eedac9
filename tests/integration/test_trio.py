"""The three services together: from the post to the provider, for everything that can come of a number."""

import json
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from shared.clock import now_ms
from shared.ids import new_batch_id
from shared.messages import BatchMessage, outbound_body
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for


@pytest.fixture
def trio(vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    return Trio(vhost, simulator, settings_for(vhost, postgres_url, simulator), start).up()


def numbers(count: int, ending: str = "") -> list[str]:
    digits = 8 - len(ending)
    return [f"+86138{number:0{digits}d}{ending}" for number in range(count)]


def once_each(trio: Trio, batch_id: str, count: int) -> bool:
    return trio.provider_calls(batch_id) == {f"{batch_id}:{row}": 1 for row in range(count)}


@pytest.mark.parametrize("senders", [pytest.param(1, marks=pytest.mark.large), 5])
def test_ten_thousand_numbers_go_out_once_each(
    vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start, senders: int
) -> None:
    settings = {**settings_for(vhost, database_url, simulator), "SMS_PROVIDER_TIMEOUT_S": "20"}
    trio = Trio(vhost, simulator, settings, start).up(senders)
    plain = [number for number in numbers(11_000) if not number[-4:].startswith("90")][:10_000]
    batch_id = trio.post(plain)
    assert trio.finished(batch_id, 120) == {"sent": 10_000}
    assert once_each(trio, batch_id, 10_000)
    assert not any(number in trio.logs() for number in plain[::100])
    assert "你好" not in trio.logs()


@pytest.mark.on_each
def test_every_kind_of_answer_ends_as_the_table_says(
    each_vhost: Vhost, sqlite_url: str, simulator: ServiceProcess, start: Start
) -> None:
    trio = Trio(each_vhost, simulator, settings_for(each_vhost, sqlite_url, simulator), start).up()
    expected = {
        "0001": ("sent", 1, None),
        "9001": ("sent", 1, None),
        "9002": ("sent", 2, None),
        "9003": ("sent", 2, None),
        "9004": ("failed", 4, "unavailable"),
        "9005": ("failed", 1, "number_unreachable"),
        "9006": ("unknown", 1, None),
        "9007": ("unknown", 1, "timeout"),
        "9008": ("unknown", 1, "connection_lost"),
        "9009": ("unknown", 1, "answer_not_understood"),
        "9010": ("failed", 4, None),
    }
    batch_id = trio.post([f"+861380013{ending}" for ending in expected])
    trio.finished(batch_id)
    for message, (state, attempts, code) in zip(trio.messages(batch_id), expected.values(), strict=True):
        assert (message["state"], message["attempts"]) == (state, attempts), message
        assert code is None or message["error_code"] == code
        assert bool(message["error_reason"]) == (state != "sent")
    calls = trio.provider_calls(batch_id)
    assert [calls[f"{batch_id}:{row}"] for row in range(len(expected))] == [a for _, a, _ in expected.values()]
    ended_badly = {row for row, (state, _, _) in enumerate(expected.values()) if state != "sent"}
    # Written after the ledger says so; a line that is not all there yet does not count.
    lines = eventually(lambda: found if len(found := failures_logged(trio)) >= len(ended_badly) else None)
    assert sorted(line["row"] for line in lines) == sorted(ended_badly)
    for line in lines:
        (state, attempts, code) = list(expected.values())[line["row"]]
        assert (line["state"], line["attempt"], line["batch_id"], line["level"]) == (
            state,
            attempts,
            batch_id,
            "warning",
        )
        assert (code or line["code"]) == line["code"]
        assert line["reason"]


def failures_logged(trio: Trio) -> list[dict[str, Any]]:
    lines = [line for line in trio.logs().splitlines() if '"message_failed"' in line]
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_a_dead_letter_says_why_and_shows_no_number_and_no_text(trio: Trio) -> None:
    batch_id = trio.post(["+8613800139005", "+8613800139008"])
    assert trio.finished(batch_id) == {"failed": 1, "unknown": 1}
    (dead,) = eventually(lambda: trio.vhost.messages("sms.dead-letter"))
    (unclear,) = eventually(lambda: trio.vhost.messages("sms.unknown"))
    headers, properties = dead["properties"]["headers"], dead["properties"]
    assert headers["x-error-code"] == "number_unreachable"
    assert headers["x-error-reason"].count(" ") > 2
    assert headers["x-provider"] == "default"
    assert (headers["x-provider-status"], headers["x-attempts"]) == (400, 1)
    assert headers["x-original-queue"] == "sms.outbound.bulk"
    assert headers["x-batch-id"] == batch_id == properties["correlation_id"]
    assert datetime.fromisoformat(headers["x-first-at"]) <= datetime.fromisoformat(headers["x-failed-at"])
    assert headers["x-failed-by"].startswith("sender@")
    assert (properties["message_id"], properties["type"]) == (f"{batch_id}:0", "sms.outbound.v1")
    assert (properties["content_type"], properties["app_id"]) == ("application/json", "sms-sender")
    assert properties["timestamp"] > 1_700_000_000
    assert json.loads(dead["payload"])["recipient"] == "+86138****9005"
    for shown in (json.dumps(dead), json.dumps(unclear)):
        assert "13800139" not in shown
        assert "你好" not in shown


def test_a_dead_letter_moved_back_by_hand_is_sent(trio: Trio) -> None:
    trio.misbehave("refuse")
    batch_id = trio.post(["+8613800138000"])
    assert trio.finished(batch_id) == {"failed": 1}
    trio.misbehave("accept")
    ((_properties, body),) = eventually(lambda: trio.take("sms.dead-letter"))
    trio.publish("sms.outbound", "bulk", json.dumps(body).encode())
    assert eventually(lambda: trio.batch(batch_id)["counts"].get("sent")) == 1
    assert trio.finished(batch_id) == {"sent": 1}
    assert trio.provider_calls(batch_id) == {f"{batch_id}:0": 2}


def test_an_unclear_number_moved_back_by_hand_is_held_again(trio: Trio) -> None:
    batch_id = trio.post(["+8613800139009"])
    assert trio.finished(batch_id) == {"unknown": 1}
    ((_properties, body),) = eventually(lambda: trio.take("sms.unknown"))
    trio.publish("sms.outbound", "bulk", json.dumps(body).encode())
    assert len(eventually(lambda: trio.vhost.messages("sms.unknown"))) == 1
    assert trio.provider_calls(batch_id) == {f"{batch_id}:0": 1}


def test_a_batch_that_allows_it_is_sent_again_after_an_unclear_answer(
    vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start
) -> None:
    settings = {**settings_for(vhost, postgres_url, simulator), "SMS_MAX_ATTEMPTS": "50"}
    trio = Trio(vhost, simulator, settings, start).up()
    trio.misbehave("garbage")
    batch_id = trio.post(["+8613800138000"], on_unknown="resend")
    eventually(lambda: trio.provider_calls(batch_id))
    trio.misbehave("accept")
    assert trio.finished(batch_id) == {"sent": 1}
    assert trio.provider_calls(batch_id)[f"{batch_id}:0"] >= 2


def test_bad_numbers_and_repeated_ones_end_alone(trio: Trio) -> None:
    batch_id = trio.post(["13800138000", "+86 138-0013-8000", "12", "not a number", "008613800138001", 13800138002])
    assert trio.finished(batch_id) == {"sent": 3, "duplicate": 1, "invalid": 2}
    (line,) = (json.loads(line) for line in trio.dispatcher.log.splitlines() if '"messages_invalid"' in line)
    assert (line["batch_id"], line["invalid"], line["codes"]) == (batch_id, 2, {"invalid_number": 2})
    by_row = {message["row"]: message for message in trio.messages(batch_id)}
    assert by_row[2]["error_reason"]
    assert {call["to"] for call in trio.provider_texts(batch_id)} == {
        "+8613800138000", "+8613800138001", "+8613800138002",
    }  # fmt: skip


def test_a_template_is_filled_in_for_each_recipient(trio: Trio, postgres_url: str) -> None:
    template_id = add_template(postgres_url, "code", "您好 $name，验证码 $code")
    recipients = [
        {"to": "+8613800138000", "variables": {"name": "李雷"}},
        {"to": "+8613800138001", "variables": {"name": "Han", "code": 9}},
        {"to": "+8613800138002"},
    ]
    batch_id = trio.post(recipients, template_id=template_id, variables={"code": "1234"})
    assert trio.finished(batch_id) == {"sent": 2, "invalid": 1}
    texts = {call["to"]: call["text"] for call in trio.provider_texts(batch_id)}
    assert texts == {"+8613800138000": "您好 李雷，验证码 1234", "+8613800138001": "您好 Han，验证码 9"}
    (invalid,) = trio.messages(batch_id, state="invalid")
    assert (invalid["error_code"], invalid["error_reason"]) == ("missing_variable", "No value for $name")


def add_template(database_url: str, name: str, content: str) -> int:
    import asyncio

    from shared.ledger.database import Database
    from shared.ledger.templates import TemplateLedger

    async def add() -> int:
        database = Database(database_url)
        template = await TemplateLedger(database).add(name, content, 0)
        await database.close()
        return template.id

    return asyncio.run(add())


def test_an_unknown_template_falls_back_on_the_content(trio: Trio) -> None:
    batch_id = trio.post(["+8613800138000"], template_id=404)
    assert trio.finished(batch_id) == {"sent": 1}
    assert [call["text"] for call in trio.provider_texts(batch_id)] == ["Hello 你好"]


def test_an_unknown_template_without_content_is_a_dead_letter_and_a_batch_that_says_why(trio: Trio) -> None:
    answer = requests.post(
        f"{trio.api.url}/v1/batches", json={"recipients": ["+8613800138000"], "template_id": 404}, timeout=30
    )
    batch_id = answer.json()["batch_id"]
    assert trio.finished(batch_id) == {"failed": 1}
    batch = trio.batch(batch_id)
    assert batch["error_code"] == "template_unknown"
    assert "404" in batch["error_reason"]
    (dead,) = eventually(lambda: trio.vhost.messages("sms.dead-letter.batches"))
    assert dead["properties"]["headers"]["x-error-code"] == "template_unknown"
    assert trio.provider_calls(batch_id) == {}


def test_a_message_that_nobody_can_read_is_a_dead_letter_at_its_first_delivery(trio: Trio) -> None:
    batch_id = trio.post(numbers(50))
    trio.publish("sms.outbound", "bulk", b"{not json", type="sms.outbound.v1")
    trio.publish("sms.outbound", "bulk", b"{}", type="sms.outbound.v9")
    trio.publish("sms.outbound", "bulk", outbound_body(batch_id, 9999, 0, "", "bulk"), type="sms.outbound.v1")
    dead = eventually(lambda: (found := trio.vhost.messages("sms.dead-letter")) and len(found) == 3 and found)
    codes = sorted(letter["properties"]["headers"]["x-error-code"] for letter in dead)
    assert codes == ["not_in_ledger", "unreadable_message", "unreadable_message"]
    assert trio.finished(batch_id) == {"sent": 50}


def test_a_batch_message_that_nobody_can_read_is_a_dead_letter_and_the_next_is_handled(trio: Trio) -> None:
    trio.publish("sms.batches", "sms.batches", b"\xff", type="sms.batch.v1")
    batch_id = trio.post(["+8613800138000"])
    (dead,) = eventually(lambda: trio.vhost.messages("sms.dead-letter.batches"))
    assert dead["properties"]["headers"]["x-error-code"] == "unreadable_message"
    assert trio.finished(batch_id) == {"sent": 1}


def test_two_thousand_copies_of_one_message_make_one_call(trio: Trio) -> None:
    trio.misbehave("slow", delay_s=0.5)
    batch_id = trio.post(["+8613800138000"], send_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    body = outbound_body(batch_id, 0, 0, "", "bulk")
    eventually(lambda: trio.batch(batch_id)["status"] not in ("accepted", "scheduled"))
    trio.publish("sms.outbound", "bulk", body, copies=2000, type="sms.outbound.v1")
    assert trio.finished(batch_id) == {"sent": 1}
    queues = [f"sms.retry.{tier}" for tier in ("200ms", "500ms", "1s", "2s")] + ["sms.outbound.bulk"]
    eventually(lambda: not any(trio.vhost.messages(queue) for queue in queues))
    assert trio.provider_calls(batch_id) == {f"{batch_id}:0": 1}
    assert trio.vhost.messages("sms.dead-letter") == []


def test_a_scheduled_batch_waits_and_an_expired_one_is_not_sent(trio: Trio) -> None:
    trio.misbehave("503")
    # Before a fourth attempt, which would be its last: with all jitter taken off, the tiers are 0.16 + 0.4 + 0.8.
    hopeless = trio.post(["+8613800138000"], expires_at=(datetime.now(UTC) + timedelta(seconds=1.2)).isoformat())
    assert trio.finished(hopeless) == {"expired": 1}
    trio.misbehave("accept")
    soon = datetime.now(UTC) + timedelta(seconds=2)
    later = trio.post(["+8613800138000"], send_at=soon.isoformat())
    assert trio.finished(later) == {"sent": 1}
    (call,) = trio.provider_texts(later)
    assert datetime.fromisoformat(call["at"]) >= soon
    assert call["to"] == "+8613800138000"


def test_retry_after_is_obeyed_where_it_is_longer_than_any_tier(trio: Trio) -> None:
    trio.misbehave("throttle", retry_after_s=4)
    batch_id = trio.post(["+8613800138000"])
    eventually(lambda: trio.provider_calls(batch_id))
    trio.misbehave("accept")
    assert trio.finished(batch_id) == {"sent": 1}
    first, second = sorted(datetime.fromisoformat(call["at"]) for call in trio.provider_texts(batch_id))
    assert second - first >= timedelta(seconds=4)


def test_the_priority_lane_does_not_wait_behind_a_big_bulk_batch(trio: Trio) -> None:
    trio.misbehave("slow", delay_s=0.2)
    big = trio.post(numbers(8000))
    eventually(lambda: trio.batch(big)["counts"].get("sent", 0) > 100)
    small = trio.post(["+8613900000001"], lane="priority")
    also_small = trio.post(["+8613900000002"])
    assert trio.finished(small) == {"sent": 1}
    assert trio.finished(also_small) == {"sent": 1}
    assert trio.batch(big)["status"] == "running"


@pytest.mark.parametrize("victim", ["api", "dispatcher", "sender"])
def test_a_service_killed_in_the_middle_of_a_batch_loses_nothing_and_sends_nothing_twice(
    trio: Trio, victim: str
) -> None:
    trio.misbehave("slow", delay_s=0.05)
    batch_id = trio.post(plain := [n for n in numbers(6000) if not n[-4:].startswith("90")])
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 500)
    service = {"api": trio.api, "dispatcher": trio.dispatcher, "sender": trio.senders[0]}[victim]
    service.kill()
    service.start()
    counts = trio.finished(batch_id, 120)
    assert counts["sent"] + counts.get("unknown", 0) == len(plain)
    assert victim == "sender" or counts == {"sent": len(plain)}
    assert set(trio.provider_calls(batch_id).values()) == {1}
    unclear = {message["row"] for message in trio.messages(batch_id, state="unknown")}
    called = {int(reference.split(":")[1]) for reference in trio.provider_calls(batch_id)}
    assert set(range(len(plain))) - called <= unclear


def test_a_sender_told_to_stop_finishes_its_calls(trio: Trio) -> None:
    for sender in trio.senders:
        sender.stop()
    patient = trio.start("services.sender", **{**trio.settings, "SMS_PROVIDER_TIMEOUT_S": "30"})
    trio.misbehave("slow", delay_s=1)
    batch_id = trio.post(numbers(400))
    eventually(lambda: len(trio.provider_calls(batch_id)) >= 200)
    assert patient.stop() == 0
    left = trio.batch(batch_id)["counts"]
    assert left.get("sending", 0) == left.get("unknown", 0) == 0
    assert left["sent"] == len(trio.provider_calls(batch_id))
    trio.misbehave("accept")
    trio.senders[0].start()
    assert trio.finished(batch_id) == {"sent": 400}
    assert once_each(trio, batch_id, 400)


def test_the_outbound_queue_stays_within_its_bound(
    vhost: Vhost, sqlite_url: str, simulator: ServiceProcess, start: Start
) -> None:
    settings = {**settings_for(vhost, sqlite_url, simulator), "SMS_OUTBOUND_DEPTH": "300"}
    trio = Trio(vhost, simulator, settings, start).up(senders=0)
    batch_id = trio.post(numbers(3000))
    eventually(lambda: trio.batch(batch_id)["counts"].get("queued") == 300)
    time.sleep(1)  # as long as it takes several turns to do wrong
    assert trio.batch(batch_id)["counts"] == {"pending": 2700, "queued": 300}
    assert trio.depths()["sms.outbound.bulk"] == 300
    trio.start("services.sender", **settings)
    assert trio.finished(batch_id)["sent"] > 2900


@pytest.mark.parametrize("module", ["services.dispatcher", "services.sender", "services.api"])
def test_a_service_stops_with_status_0(trio: Trio, module: str) -> None:
    service = {"services.dispatcher": trio.dispatcher, "services.sender": trio.senders[0], "services.api": trio.api}
    assert service[module].stop() == 0
    assert "Traceback" not in service[module].log
    assert '"level":"error"' not in service[module].log


def test_an_interrupted_service_stops_in_order(trio: Trio) -> None:
    trio.dispatcher.signal(signal.SIGINT)
    assert trio.dispatcher.wait() == 0


def test_a_provider_that_is_down_costs_few_attempts_and_everything_goes_out_when_it_is_back(trio: Trio) -> None:
    trio.simulator.kill()
    batch_id = trio.post(numbers(1500))
    eventually(lambda: all("circuit_opened" in sender.log for sender in trio.senders))
    time.sleep(3)  # long enough to burn every attempt, were they not held
    assert trio.batch(batch_id)["counts"].get("failed", 0) == 0
    trio.simulator.start()
    assert trio.finished(batch_id, 120) == {"sent": 1500}
    assert set(trio.provider_calls(batch_id).values()) == {1}


def test_a_batch_that_the_ledger_cannot_store_is_a_dead_letter_and_the_dispatcher_goes_on(trio: Trio) -> None:
    batch_id = new_batch_id(now_ms())
    message = BatchMessage(
        batch_id=batch_id, fingerprint="f", accepted_at_ms=now_ms(), recipients=["+8613800138000"], content="a\0b"
    )
    body = message.model_dump_json().encode()
    trio.publish("sms.batches", "sms.batches", body, type="sms.batch.v1", message_id=batch_id)
    (dead,) = eventually(lambda: trio.vhost.messages("sms.dead-letter.batches"))
    assert dead["properties"]["headers"]["x-error-code"] == "not_storable"
    assert trio.batch(batch_id)["error_code"] == "not_storable"
    assert trio.finished(trio.post(["+8613800138000"])) == {"sent": 1}


def test_a_retry_queue_that_is_deleted_is_put_back(trio: Trio) -> None:
    for tier in ("200ms", "500ms", "1s", "2s"):
        trio.vhost.broker.api("DELETE", f"queues/{trio.vhost.name}/sms.retry.{tier}")
    batch_id = trio.post(["+8613800139002", "+8613800139003"])
    assert trio.finished(batch_id) == {"sent": 2}


def test_a_scheduled_batch_without_a_number_to_send_is_finished(trio: Trio) -> None:
    batch_id = trio.post(["12"], send_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert trio.finished(batch_id) == {"invalid": 1}


def test_a_text_that_variables_would_make_enormous_is_refused_for_its_row(trio: Trio) -> None:
    short, long = {"a": "x"}, {"a": "x" * 5000}
    recipients = [{"to": "+8613800138000", "variables": short}, {"to": "+8613800138001", "variables": long}]
    batch_id = trio.post(recipients, content="$a" * 2000)
    assert trio.finished(batch_id) == {"sent": 1, "invalid": 1}
    assert trio.messages(batch_id, state="invalid")[0]["error_code"] == "text_too_long"


@pytest.mark.parametrize("module", ["services.dispatcher", "services.sender"])
def test_a_service_that_waits_for_its_database_can_be_stopped(
    vhost: Vhost, simulator: ServiceProcess, start: Start, module: str
) -> None:
    settings = settings_for(vhost, "postgresql://sms:x@127.0.0.1:1/sms", simulator)
    service = start(module, wait=False, **settings)
    eventually(lambda: "waiting_for_database" in service.log)
    assert service.stop(10) == 0


@pytest.mark.parametrize(
    ("queue", "body", "properties"),
    [
        ("sms.outbound", {"row": 0, "attempt": 0, "not_before_ms": 10**20}, {"type": "sms.outbound.v1"}),
        ("sms.outbound", {"row": 2**40, "attempt": 0}, {"type": "sms.outbound.v1"}),
        ("sms.batches", {"template_id": 2**70, "recipients": ["1"]}, {"type": "sms.batch.v1"}),
        ("sms.batches", {"recipients": []}, {"type": "sms.batch.v1"}),
    ],
)
def test_no_message_is_so_odd_that_it_stops_a_service(
    trio: Trio, queue: str, body: dict[str, object], properties: dict[str, str]
) -> None:
    whole = {"batch_id": new_batch_id(now_ms()), "fingerprint": "f", "accepted_at_ms": 1, "content": "x", **body}
    key, letters = ("bulk", "sms.dead-letter") if queue == "sms.outbound" else (queue, "sms.dead-letter.batches")
    trio.publish(queue, key, json.dumps(whole).encode(), **properties)
    (dead,) = eventually(lambda: trio.vhost.messages(letters))
    assert dead["properties"]["headers"]["x-error-code"] == "unreadable_message"
    assert trio.finished(trio.post(["+8613800138000"])) == {"sent": 1}
    assert '"level":"critical"' not in trio.logs()
