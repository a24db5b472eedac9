"""smsctl doctor --fix gives queues other arguments: every message is there afterwards, as it was, whatever happens."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pika
import pytest

from shared.ledger.database import Database
from shared.topology import DEAD_LETTER, UNKNOWN_QUEUE
from tests.support.brokers import Vhost
from tests.support.doctor import TIERS_S, Patient
from tests.support.standing_in import standing_in
from tools.ctl.doctoring.session import Move, session

LETTERS = 300
LONGER_THAN_IT_IS_QUIET_S = 4
TIER = "sms.retry.1m"
OTHERWISE = {"x-queue-type": "quorum", "x-message-ttl": 86_400_000, "x-delivery-limit": 50}
DIFFERS = f"queue {DEAD_LETTER} on the broker has "

FURTHER_POINTS = (
    "doctor.bound",
    "doctor.emptied:2",
    "doctor.emptied",
    "doctor.bound:2",
    "doctor.moved:450",
    "doctor.deleted:2",
)

Message = tuple[Any, ...]


@pytest.fixture
async def _tables(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await database.migrate()
    await database.close()


@pytest.fixture
def patient(each_vhost: Vhost, sqlite_url: str, _tables: None) -> Iterator[Patient]:
    """Nobody consumes: the services stop by themselves when they find a queue that is otherwise."""
    with standing_in() as api:
        settings = {
            "SMS_AMQP_URL": each_vhost.amqp_url,
            "SMS_MANAGEMENT_URL": each_vhost.management_url,
            "SMS_API_URL": api.url,
            "SMS_DATABASE_URL": sqlite_url,
            "SMS_RETRY_TIERS_S": ",".join(map(str, TIERS_S)),
        }
        patient = Patient(each_vhost, api, settings)
        assert patient.smsctl("topology").returncode == 0
        yield patient


def letter(number: int) -> pika.BasicProperties:
    """A dead letter's properties, with every kind of header that there may be."""
    headers = {
        "x-error-code": "E1",
        "x-error-reason": "号码停机",
        "x-attempts": number,
        "x-large": 2**40,
        "x-death": [{"queue": "sms.outbound.bulk", "time": datetime(2030, 1, 1, tzinfo=UTC), "count": 20}],
        "x-flag": True,
    }
    return pika.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        type="sms.outbound.v1",
        message_id=f"id:{number}",
        correlation_id=f"batch-{number % 7}",
        timestamp=1_900_000_000 + number,
        app_id="sender",
        headers=headers,
    )


def publish(vhost: Vhost, exchange: str, key: str, numbers: range, **changes: Any) -> None:
    """Letters, confirmed."""
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for number in numbers:
            properties = letter(number)
            for name, value in changes.items():
                setattr(properties, name, value)
            channel.basic_publish(exchange, key, b'{"row":%d}' % number, properties, mandatory=True)


def taken(vhost: Vhost, queue: str) -> list[Message]:
    """Every message in the queue with all that it carries; they stay there."""
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        channel, found = connection.channel(), []
        while True:
            method, properties, body = channel.basic_get(queue)
            if method is None:
                return found
            found.append((method.exchange, method.routing_key, _own(properties), body))


def _own(properties: pika.BasicProperties) -> dict[str, Any]:
    headers = {k: v for k, v in properties.headers.items() if k not in ("x-delivery-count", "x-acquired-count")}
    return {**vars(properties), "headers": headers}


def ids(messages: list[Message]) -> list[str]:
    return [message[2]["message_id"] for message in messages]


def queues(vhost: Vhost) -> dict[str, dict[str, Any]]:
    """The queues with their arguments."""
    return {queue["name"]: queue["arguments"] for queue in vhost.broker.api("GET", f"queues/{vhost.name}")}


def bound(vhost: Vhost) -> set[tuple[str, str, str]]:
    """Every binding but the default exchange's."""
    found = vhost.broker.api("GET", f"bindings/{vhost.name}")
    return {(each["source"], each["destination"], each["routing_key"]) for each in found if each["source"]}


def is_as_it_should_be(patient: Patient) -> bool:
    """Queues and bindings are those of the topology and no others."""
    topology = patient.topology
    assert queues(patient.vhost) == {queue.name: dict(queue.arguments) for queue in topology.queues}
    assert bound(patient.vhost) == {(each.exchange, each.queue, each.key) for each in topology.bindings}
    return True


def about_queues(wrong: list[str]) -> list[str]:
    """The findings but those that nobody consumes."""
    return [what for what in wrong if not what.startswith("nobody consumes")]


def test_a_queue_with_other_arguments_gets_the_right_ones_and_keeps_every_message(patient: Patient) -> None:
    patient.declare(DEAD_LETTER, OTHERWISE)
    publish(patient.vhost, DEAD_LETTER, "outbound", range(LETTERS))
    with_others = about_queues(patient.wrong())
    assert with_others == [f"{DIFFERS}x-delivery-limit = 50, it should be 1000000"]
    before = taken(patient.vhost, DEAD_LETTER)
    assert len(before) == LETTERS
    _status, said = patient.doctor("--fix")
    assert said["fixed"] == [f"migrated queue {DEAD_LETTER} with {LETTERS} messages"]
    assert about_queues([finding["what"] for finding in said["findings"]]) == []
    assert is_as_it_should_be(patient)
    after = taken(patient.vhost, DEAD_LETTER)
    assert sorted(after, key=repr) == sorted(before, key=repr)
    assert about_queues(patient.wrong()) == []


def test_a_tiers_messages_still_find_their_way_out(patient: Patient) -> None:
    patient.declare(TIER, {"x-queue-type": "quorum", "x-message-ttl": 3_600_000, "x-delivery-limit": 50})
    for lane in ("bulk", "priority"):
        publish(patient.vhost, "sms.retry", f"1m.{lane}", range(20), expiration="50000")
    publish(patient.vhost, "", TIER, range(20, 21), expiration="50000")
    before = taken(patient.vhost, TIER)
    assert about_queues(patient.wrong("--fix")) == []
    assert is_as_it_should_be(patient)
    after = taken(patient.vhost, TIER)
    by_hand = [message for message in before if message[0] == ""]
    assert len(by_hand) == 1
    expected = [message for message in before if message[0]] + [("sms.retry", "1m.priority", *by_hand[0][2:])]
    assert sorted(after, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize(
    "point",
    [
        "doctor.moved:150",
        "doctor.deleted",
        *(pytest.param(point, marks=pytest.mark.large) for point in FURTHER_POINTS),
    ],
)
def test_a_migration_that_is_killed_is_finished_by_the_next_and_nothing_is_lost(patient: Patient, point: str) -> None:
    patient.declare(DEAD_LETTER, OTHERWISE)
    publish(patient.vhost, DEAD_LETTER, "outbound", range(LETTERS))
    before = {repr(message) for message in taken(patient.vhost, DEAD_LETTER)}
    killed = patient.smsctl("doctor", "--fix", SMS_CRASH_AT=point)
    assert killed.returncode == -signal.SIGKILL
    publish(patient.vhost, DEAD_LETTER, "outbound", range(LETTERS, LETTERS + 1))
    if point != "doctor.deleted:2":
        assert about_queues(patient.wrong()) != []
    assert about_queues(patient.wrong("--fix")) == []
    assert is_as_it_should_be(patient)
    after = taken(patient.vhost, DEAD_LETTER)
    assert {repr(message) for message in after} >= before
    assert set(ids(after)) == {f"id:{number}" for number in range(LETTERS + 1)}


def test_what_is_published_meanwhile_arrives(patient: Patient) -> None:
    patient.declare(DEAD_LETTER, OTHERWISE)
    publish(patient.vhost, DEAD_LETTER, "outbound", range(LETTERS))
    stop, published = threading.Event(), [LETTERS]

    def go_on() -> None:
        while not stop.is_set():
            publish(patient.vhost, DEAD_LETTER, "outbound", range(published[0], published[0] + 10))
            published[0] += 10

    publisher = threading.Thread(target=go_on)
    publisher.start()
    try:
        assert about_queues(patient.wrong("--fix")) == []
    finally:
        stop.set()
        publisher.join()
    assert is_as_it_should_be(patient)
    assert published[0] > LETTERS
    assert set(ids(taken(patient.vhost, DEAD_LETTER))) == {f"id:{number}" for number in range(published[0])}


def consume(channel: pika.adapters.blocking_connection.BlockingChannel) -> None:
    """As a service does."""
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(DEAD_LETTER, lambda *_: None)


def hold(channel: pika.adapters.blocking_connection.BlockingChannel) -> None:
    """As somebody does who looks at a message."""
    assert channel.basic_get(DEAD_LETTER)[0] is not None


@pytest.mark.parametrize("use", [consume, pytest.param(hold, marks=pytest.mark.large)])
def test_a_queue_in_use_is_left_alone(
    patient: Patient, use: Callable[[pika.adapters.blocking_connection.BlockingChannel], None]
) -> None:
    patient.declare(DEAD_LETTER, OTHERWISE)
    publish(patient.vhost, DEAD_LETTER, "outbound", range(3))
    with pika.BlockingConnection(pika.URLParameters(patient.vhost.amqp_url)) as connection:
        use(connection.channel())
        _status, said = patient.doctor("--fix")
        (what,) = [finding["what"] for finding in said["findings"] if "was not migrated" in finding["what"]]
        assert what.startswith(f"queue {DEAD_LETTER} was not migrated: {DEAD_LETTER} is in use")
        assert said["fixed"] == []
    assert queues(patient.vhost)[DEAD_LETTER] == OTHERWISE
    assert about_queues(patient.wrong("--fix")) == []
    assert set(ids(taken(patient.vhost, DEAD_LETTER))) == {"id:0", "id:1", "id:2"}


async def test_a_queue_is_not_empty_while_somebody_holds_a_message_of_it(each_vhost: Vhost) -> None:
    source, target = "sms.from", "sms.to"
    with pika.BlockingConnection(pika.URLParameters(each_vhost.amqp_url)) as connection:
        for queue in (source, target):
            connection.channel().queue_declare(queue, durable=True, arguments=OTHERWISE)
        publish(each_vhost, "", source, range(3))
        holding = connection.channel()
        assert holding.basic_get(source)[0] is not None
        async with session(each_vhost.amqp_url) as opened:
            move = Move(opened, source, lambda _place: ("", target), prefetch=10)
            await move.begin()
            emptied = asyncio.create_task(move.until_empty())
            done, _pending = await asyncio.wait([emptied], timeout=LONGER_THAN_IT_IS_QUIET_S)
            assert (len(done), move.moved) == (0, 2)
            holding.close()
            await emptied
            assert move.moved == 3
            await opened.delete(source)
    assert set(ids(taken(each_vhost, target))) == {"id:0", "id:1", "id:2"}


def test_what_reached_the_old_queue_after_an_interruption_is_moved_as_well(patient: Patient) -> None:
    patient.declare(DEAD_LETTER, OTHERWISE)
    publish(patient.vhost, DEAD_LETTER, "outbound", range(LETTERS))
    assert patient.smsctl("doctor", "--fix", SMS_CRASH_AT="doctor.emptied").returncode == -signal.SIGKILL
    publish(patient.vhost, "", DEAD_LETTER, range(LETTERS, LETTERS + 1))
    with pika.BlockingConnection(pika.URLParameters(patient.vhost.amqp_url)) as connection:
        hold(connection.channel())
        assert f"queue {DEAD_LETTER} was not migrated" in "".join(patient.wrong("--fix"))
    assert about_queues(patient.wrong("--fix")) == []
    assert set(ids(taken(patient.vhost, DEAD_LETTER))) == {f"id:{number}" for number in range(LETTERS + 1)}


def test_two_at_a_time_do_not_get_in_each_others_way(patient: Patient) -> None:
    patient.declare(DEAD_LETTER, OTHERWISE)
    with pika.BlockingConnection(pika.URLParameters(patient.vhost.amqp_url)) as connection:
        connection.channel().queue_declare("sms.doctor", exclusive=True)
        wrong = patient.wrong("--fix")
    assert f"queue {DEAD_LETTER} was not migrated: another smsctl doctor --fix is at work" in wrong
    assert about_queues(patient.wrong("--fix")) == []


def test_without_the_management_api_nothing_is_migrated(patient: Patient) -> None:
    patient.declare(DEAD_LETTER, OTHERWISE)
    wrong = "".join(patient.wrong("--fix", SMS_MANAGEMENT_URL=""))
    assert f"queue {DEAD_LETTER} was not migrated: no management API is configured" in wrong
    assert DIFFERS in wrong


def test_a_classic_queue_becomes_a_quorum_queue(patient: Patient) -> None:
    patient.declare(UNKNOWN_QUEUE, {})
    publish(patient.vhost, DEAD_LETTER, "unknown", range(LETTERS))
    before = taken(patient.vhost, UNKNOWN_QUEUE)
    assert about_queues(patient.wrong("--fix")) == []
    assert is_as_it_should_be(patient)
    assert sorted(taken(patient.vhost, UNKNOWN_QUEUE), key=repr) == sorted(before, key=repr)


def test_bindings_of_other_peoples_are_kept(patient: Patient) -> None:
    patient.declare(DEAD_LETTER, OTHERWISE)
    with pika.BlockingConnection(pika.URLParameters(patient.vhost.amqp_url)) as connection:
        channel = connection.channel()
        channel.exchange_declare("theirs", "headers", durable=True)
        channel.queue_bind(DEAD_LETTER, "theirs", "any", {"x-match": "all", "a": "b"})
    before = bound(patient.vhost)
    assert about_queues(patient.wrong("--fix")) == []
    assert bound(patient.vhost) == before
    with pika.BlockingConnection(pika.URLParameters(patient.vhost.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("theirs", "", b"", pika.BasicProperties(headers={"a": "b"}), mandatory=True)
        with pytest.raises(pika.exceptions.UnroutableError):
            channel.basic_publish("theirs", "", b"", pika.BasicProperties(headers={"a": "c"}), mandatory=True)
