"""A broker that takes no messages: under a memory or a disk alarm, because a queue is full, or behind a closed door."""

import signal
import time

import psutil
import pytest
import requests

from shared.topology import outbound_queue
from tests.conftest import Start
from tests.faults.conftest import FaultRun, trio_on
from tests.faults.test_kills import ends_as, plain_numbers
from tests.support.api import post
from tests.support.brokers import Vhost
from tests.support.own_broker import OwnBroker, settle_down
from tests.support.processes import ServiceProcess, eventually
from tests.support.proxy import proxy
from tests.support.trio import Trio

BULK = outbound_queue("bulk")
ALARMS = {
    "memory": (("set_vm_memory_high_watermark", "0.0000001"), ("set_vm_memory_high_watermark", "0.6")),
    "disk": (("set_disk_free_limit", "999999GB"), ("set_disk_free_limit", "50MB")),
}
"""rabbitmqctl's arguments that raise the alarm, and those that end it."""
RETRIED = 15
"""Fewer than open the circuit."""
WATCHED_S = 4
STATISTICS_S = 6
"""After this long the management API no longer tells of what was before: it counts every five seconds."""
MOST_OF_A_CORE = 0.5
MOST_ATTEMPTS_LOGGED = 20
LIMIT = 500
CLOSED_DOORS = 6


def unacked(trio: Trio, queue: str) -> int:
    """The deliveries of a queue that nobody has acked."""
    found = trio.vhost.broker.api("GET", f"queues/{trio.vhost.name}/{queue}")
    return int(found.get("messages_unacknowledged", 0))


def cpu_s(service: ServiceProcess) -> float:
    """The processor time that it has used."""
    times = psutil.Process(service.pid).cpu_times()
    return float(times.user + times.system)


def stands_still(services: list[ServiceProcess]) -> None:
    """None of them is busy, and none tries again and again, over some seconds."""
    before = [(cpu_s(service), service.log.count("not_confirmed")) for service in services]
    time.sleep(WATCHED_S)
    for service, (used_s, attempts) in zip(services, before, strict=True):
        assert cpu_s(service) - used_s < MOST_OF_A_CORE * WATCHED_S, service.module
        assert service.log.count("not_confirmed") - attempts < MOST_ATTEMPTS_LOGGED, service.module


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.scenario(16, "memory or disk alarm while a retry tier is needed")
def test_under_an_alarm_the_api_says_503_and_what_needs_a_retry_tier_stays_unacked(
    own_broker_of_each_kind: OwnBroker,
    simulator: ServiceProcess,
    settings: dict[str, str],
    start: Start,
    fault: FaultRun,
    kind: str,
) -> None:
    own_broker, (begin, end) = own_broker_of_each_kind, ALARMS[kind]
    # What waits out the alarm is not lost, and is not to be fed anew.
    patient = {"SMS_PROVIDER_TIMEOUT_S": "20", "SMS_PUBLISH_TIMEOUT_S": "2", "SMS_RECOVER_AFTER_S": "60"}
    trio = trio_on(own_broker, simulator, {**settings, **patient}, start).up()
    settle_down()
    eventually(lambda: each_sender_is_answered(trio))
    trio.misbehave("503", delay_s=3)
    batch_id = trio.post(plain_numbers(RETRIED))
    eventually(lambda: len(trio.provider_calls(batch_id)) == RETRIED)
    trio.simulator.signal(signal.SIGSTOP)  # no answer comes before the alarm
    own_broker.ctl(*begin)
    trio.simulator.signal(signal.SIGCONT)
    try:
        refused = [post(trio.api, Idempotency_Key=f"alarm {number}") for number in range(3)]
        eventually(lambda: trio.batch(batch_id)["counts"].get("sending", 0) == 0)
        stands_still([trio.api, trio.dispatcher, *trio.senders])
        time.sleep(STATISTICS_S)
        assert unacked(trio, BULK) == RETRIED
        assert set(trio.provider_calls(batch_id).values()) == {1}
        trio.misbehave("accept")
    finally:
        own_broker.ctl(*end)
    for answer in refused:
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
    accepted = [eventually(lambda key=key: taken(trio, f"alarm {key}"), 60) for key in range(3)]
    fault.conserved(trio, [batch_id, *accepted])
    assert ends_as(trio, batch_id) == {"sent": RETRIED}
    assert set(trio.provider_calls(batch_id).values()) == {2}  # the 503, and the one that was accepted


def each_sender_is_answered(trio: Trio) -> bool:
    """Post a few numbers; whether each sender has had an answer then: one without claims no more during its calls."""
    assert trio.finished(trio.post(plain_numbers(10))) == {"sent": 10}
    return all(sent_by(sender) for sender in trio.senders)


def sent_by(sender: ServiceProcess) -> float:
    """How many numbers it has sent."""
    lines = requests.get(f"{sender.url}/metrics", timeout=30).text.splitlines()
    (line,) = (line for line in lines if line.startswith('sms_sender_outcomes_total{state="sent"}'))
    return float(line.split()[1])


def taken(trio: Trio, key: str) -> str | None:
    """The batch id once the request with this key is taken."""
    answer = post(trio.api, Idempotency_Key=key)
    return str(answer.json()["batch_id"]) if answer.status_code == 202 else None


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet; the dispatcher would go far beyond the queue's limit."""
    deep = {"SMS_OUTBOUND_DEPTH": "20000", "SMS_PROVIDER_TIMEOUT_S": "10", "SMS_AMQP_URL": each_vhost.amqp_url}
    return Trio(each_vhost, simulator, {**settings, **deep}, start)


@pytest.mark.quick
@pytest.mark.scenario(17, "the outbound queue at its length limit")
def test_a_full_outbound_queue_slows_the_dispatcher_and_it_goes_on(trio: Trio, fault: FaultRun) -> None:
    limit(trio.vhost, BULK, LIMIT)
    trio.up(senders=0)
    batch_id = trio.post(plain_numbers(4000))
    eventually(lambda: "the broker refused the message" in trio.dispatcher.log)
    stands_still([trio.dispatcher])
    assert LIMIT <= trio.depths()[BULK] < 4000
    small = trio.post(plain_numbers(4010)[4000:], lane="priority")
    trio.senders = [trio.start("services.sender", **trio.settings) for _ in range(2)]
    fault.conserved(trio, [batch_id, small])
    assert ends_as(trio, batch_id) == {"sent": 4000}
    assert set(trio.provider_calls(batch_id).values()) == {1}


@pytest.mark.quick
@pytest.mark.scenario(12, "a door before a dead broker that closes every connection at once")
def test_services_outlive_a_door_that_closes_every_connection_at_once(trio: Trio, fault: FaultRun) -> None:
    broker = trio.vhost.broker
    with proxy(broker.host, broker.amqp_port) as door:
        door.refuse()
        way = f"amqp://{broker.user}:{broker.password}@127.0.0.1:{door.port}/{trio.vhost.name}"
        modules = ("services.api", "services.dispatcher", "services.sender")
        services = [trio.start(name, wait=False, **{**trio.settings, "SMS_AMQP_URL": way}) for name in modules]
        trio.api, trio.dispatcher, trio.senders = services[0], services[1], services[2:]
        for service in services:
            eventually(lambda service=service: service.is_ready() or tries(service) >= CLOSED_DOORS)
            assert not service.is_ready()
        door.heal()
        for service in services:
            eventually(service.is_ready)
        fault.conserved(trio, [trio.post(plain_numbers(100))])


def tries(service: ServiceProcess) -> int:
    """How often it has tried to reach the broker in vain."""
    return service.log.count("broker_unreachable") + service.log.count("waiting_for_broker")


def limit(vhost: Vhost, queue: str, length: int) -> None:
    """Lower a queue's length limit: of argument and policy the lower one holds."""
    policy = {"pattern": f"^{queue}$".replace(".", "\\."), "definition": {"max-length": length}, "apply-to": "queues"}
    vhost.broker.api("PUT", f"policies/{vhost.name}/short", json=policy)
