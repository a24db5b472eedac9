"""Messages that nobody can read, that come again and again, or that crash whoever takes them."""

import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pika
import pytest
import requests

from shared.clock import now_ms
from shared.ids import new_batch_id
from shared.messages import OUTBOUND_TYPE, outbound_body
from shared.topology import CRASH_LIMIT
from tests.conftest import Start
from tests.faults.conftest import FaultRun
from tests.faults.test_kills import ends_as, plain_numbers
from tests.support.api import post
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

COPIES = 10_000
RECIPIENTS = 200
AT_ONCE = 50
MOST_CRASHES = 40


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet."""
    own = {"SMS_PROVIDER_TIMEOUT_S": "10", "SMS_AMQP_URL": each_vhost.amqp_url}
    return Trio(each_vhost, simulator, {**settings, **own}, start)


def waiting_batch(trio: Trio) -> str:
    """A batch whose every number waits on the outbound queue: no sender runs yet."""
    trio.up(senders=0)
    batch_id = trio.post(plain_numbers(RECIPIENTS))
    eventually(lambda: trio.batch(batch_id)["counts"].get("queued") == RECIPIENTS)
    return batch_id


def codes(trio: Trio, queue: str) -> Counter[str]:
    """The error codes of the dead letters in a queue."""
    return Counter(letter["properties"]["headers"]["x-error-code"] for letter in trio.vhost.messages(queue))


@pytest.mark.quick
@pytest.mark.scenario(22, "messages that nobody can read or that no row explains")
def test_what_nobody_can_read_is_a_dead_letter_and_its_neighbours_are_untouched(trio: Trio, fault: FaultRun) -> None:
    batch_id = waiting_batch(trio)
    unreadable = [
        (b"{not json", OUTBOUND_TYPE),
        (b"\xff\xfe", OUTBOUND_TYPE),
        (b"[]", OUTBOUND_TYPE),
        (b"{}", OUTBOUND_TYPE),
        (outbound_body(batch_id, 0, 0, "", "bulk"), "sms.outbound.v9"),
        (outbound_body(batch_id, 0, 0, "", "bulk"), "sms.batch.v1"),
    ]
    foreign = [
        outbound_body(batch_id, RECIPIENTS + 1, 0, "", "bulk"),
        outbound_body(new_batch_id(now_ms()), 0, 0, "", "bulk"),
    ]
    for body, kind in unreadable:
        trio.publish("sms.outbound", "bulk", body, type=kind)
    for body in foreign:
        trio.publish("sms.outbound", "bulk", body, type=OUTBOUND_TYPE)
    batches = [(b"\xff", "sms.batch.v1"), (b"[1]", "sms.batch.v1"), (b"{}", "sms.batch.v2")]
    for body, kind in batches:
        trio.publish("sms.batches", "sms.batches", body, type=kind)
    later = trio.post(plain_numbers(100), lane="priority")
    trio.senders = [trio.start("services.sender", **trio.settings) for _ in range(2)]
    fault.conserved(trio, [batch_id, later], strict=False)  # one of the letters names a row that there is not
    assert ends_as(trio, batch_id) == {"sent": RECIPIENTS}
    assert set(trio.provider_calls(batch_id).values()) == {1}
    expected = Counter(unreadable_message=len(unreadable), not_in_ledger=len(foreign))
    eventually(lambda: codes(trio, "sms.dead-letter") == expected)
    eventually(lambda: codes(trio, "sms.dead-letter.batches") == Counter(unreadable_message=len(batches)))
    kept = {letter["payload"] for letter in trio.vhost.messages("sms.dead-letter")}
    assert {body.decode() for body, _kind in unreadable if body.isascii()} <= kept


@pytest.mark.parametrize("culprit", [0, 150])
@pytest.mark.scenario(23, "a message that crashes whichever sender takes it")
def test_a_message_that_crashes_senders_is_a_dead_letter_and_its_neighbours_are_sent(
    trio: Trio, culprit: int, fault: FaultRun
) -> None:
    batch_id = waiting_batch(trio)
    crash_at = f"sender.received@{batch_id}:{culprit}"
    sender = trio.start("services.sender", wait=False, **trio.settings, SMS_CRASH_AT=crash_at)
    trio.senders = [sender]
    assert crashes(sender, lambda: trio.depths()["sms.dead-letter"] > 0) <= CRASH_LIMIT
    found = fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == Counter(failed=1, sent=RECIPIENTS - 1 - found.unknown, unknown=found.unknown)
    assert trio.letters("sms.dead-letter") == {f"{batch_id}:{culprit}"}
    assert codes(trio, "sms.dead-letter") == {"crashes_sender": 1}
    # Taken first, it crashes its sender before any other number is in a call.
    assert found.unknown == 0 or culprit > 0


@pytest.mark.scenario(23, "a batch that crashes whichever dispatcher takes it")
def test_a_batch_that_crashes_dispatchers_is_a_dead_letter_and_its_neighbours_are_sent(
    trio: Trio, fault: FaultRun
) -> None:
    trio.api = trio.start("services.api", **trio.settings)
    batch_ids = [trio.post(plain_numbers(RECIPIENTS)) for _ in range(4)]
    crash_at = f"dispatcher.received@{batch_ids[1]}"
    trio.dispatcher = trio.start("services.dispatcher", wait=False, **trio.settings, SMS_CRASH_AT=crash_at)
    assert crashes(trio.dispatcher, lambda: trio.depths()["sms.dead-letter.batches"] > 0) <= CRASH_LIMIT
    trio.senders = [trio.start("services.sender", **trio.settings)]
    fault.conserved(trio, [batch_ids[0], *batch_ids[2:]])
    assert codes(trio, "sms.dead-letter.batches") == {"crashes_dispatcher": 1}
    assert trio.letters("sms.dead-letter.batches") == {batch_ids[1]}
    refused = trio.batch(batch_ids[1])  # nobody could read its numbers, so it has counts and no rows
    assert (refused["status"], refused["error_code"]) == ("finished", "crashes_dispatcher")
    assert refused["counts"] == {"failed": RECIPIENTS}
    assert trio.provider_calls(batch_ids[1]) == {}


def crashes(service: ServiceProcess, over: Callable[[], bool]) -> int:
    """Start the service again whenever it has died, until it is over; how often it died."""
    deaths = 0
    while not over():
        try:
            assert service.wait(0.5) == -signal.SIGKILL, service.log[-2000:]
        except subprocess.TimeoutExpired:
            continue
        deaths += 1
        assert deaths <= MOST_CRASHES
        service.start(wait=False)
    return deaths


@pytest.mark.quick(only_matrix=True)
@pytest.mark.scenario(24, "the same message 10,000 times")
def test_ten_thousand_copies_of_a_message_make_one_call(trio: Trio, fault: FaultRun) -> None:
    batch_id = waiting_batch(trio)
    publish_copies(trio, outbound_body(batch_id, 7, 0, "", "bulk"), COPIES)
    # The broker has read them; its count of a queue comes after that.
    eventually(lambda: trio.depths()["sms.outbound.bulk"] == RECIPIENTS + COPIES)
    trio.senders = [trio.start("services.sender", **trio.settings) for _ in range(3)]
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": RECIPIENTS}
    assert trio.provider_calls(batch_id)[f"{batch_id}:7"] == 1
    assert trio.vhost.messages("sms.dead-letter") == []


def publish_copies(trio: Trio, body: bytes, copies: int) -> None:
    """Publish without awaiting each confirm; the orderly close shows that the broker has read all of them."""
    properties = pika.BasicProperties(type=OUTBOUND_TYPE, delivery_mode=2)
    with pika.BlockingConnection(pika.URLParameters(trio.vhost.amqp_url)) as connection:
        channel = connection.channel()
        for _ in range(copies):
            channel.basic_publish("sms.outbound", "bulk", body, properties)
        channel.close()


@pytest.mark.parametrize("apis", [pytest.param(1, marks=pytest.mark.quick(only_matrix=True)), 2])
@pytest.mark.scenario(25, "the same Idempotency-Key 50 times at once")
def test_the_same_key_fifty_times_at_once_is_one_batch_that_is_sent_once(
    trio: Trio, apis: int, fault: FaultRun
) -> None:
    trio.up()
    doors = [trio.api, *(trio.start("services.api", **trio.settings) for _ in range(apis - 1))]
    recipients = plain_numbers(RECIPIENTS)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        posts = [pool.submit(post, doors[n % apis], recipients, Idempotency_Key="once") for n in range(AT_ONCE)]
        answers = [waiting.result() for waiting in posts]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status_code == 409)
    (batch_id,) = {answer.json()["batch_id"] for answer in answers if answer.status_code == 202}
    trio.posted[batch_id] = RECIPIENTS
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": RECIPIENTS}
    assert set(trio.provider_calls(batch_id).values()) == {1}
    listed = requests.get(f"{trio.api.url}/v1/batches", timeout=30).json()["batches"]
    assert [batch["batch_id"] for batch in listed] == [batch_id]
