"""Queues that are deleted, bindings that are removed, arguments that are others, and a broker that lost everything."""

import json
import signal
from collections.abc import Callable

import pika
import pytest

from shared.topology import BATCHES, OUTBOUND, RETRY, outbound_queue
from tests.conftest import Start
from tests.faults.conftest import RECOVERS_SOON, FaultRun, trio_on
from tests.faults.test_kills import ends_as, plain_numbers
from tests.support.api import post
from tests.support.brokers import Vhost
from tests.support.own_broker import OwnBroker, settle_down
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

BULK = outbound_queue("bulk")
TIER = "sms.retry.2s"
NUMBERS = 3000
BACK_WITHIN_S = 60


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet. Its only retry tier is long enough to be harmed while numbers wait in it."""
    own = {"SMS_PROVIDER_TIMEOUT_S": "10", "SMS_RETRY_TIERS_S": "2", "SMS_AMQP_URL": each_vhost.amqp_url}
    return Trio(each_vhost, simulator, {**settings, **own, **RECOVERS_SOON}, start)


def delete_queue(vhost: Vhost, queue: str) -> None:
    """With all that is in it."""
    vhost.broker.api("DELETE", f"queues/{vhost.name}/{queue}")


def unbind(vhost: Vhost, exchange: str, queue: str, key: str) -> None:
    """Remove a binding."""
    vhost.broker.api("DELETE", f"bindings/{vhost.name}/e/{exchange}/q/{queue}/{key}")


def some_unavailable_once(count: int) -> list[str]:
    """Numbers of which every tenth gets a 503 first, and so needs a retry tier."""
    return [f"+86139{row:04d}9003" if row % 10 == 0 else number for row, number in enumerate(plain_numbers(count))]


def in_the_middle(trio: Trio) -> str:
    """A batch that is being sent, with numbers in every queue on its way."""
    trio.misbehave("slow", delay_s=0.1)
    batch_id = trio.post(some_unavailable_once(NUMBERS))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 200)
    eventually(lambda: trio.batch(batch_id)["counts"].get("retrying", 0) > 10)
    return batch_id


def taken(trio: Trio, key: str) -> str | None:
    """The batch id once the request with this key is taken; until then it is refused, and told when to come back."""
    answer = post(trio.api, plain_numbers(50), Idempotency_Key=key)
    if answer.status_code == 202:
        return str(answer.json()["batch_id"])
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    return None


@pytest.mark.parametrize("queue", [BATCHES, pytest.param(BULK, marks=pytest.mark.quick(only_matrix=True)), TIER])
@pytest.mark.scenario(28, "a queue deleted in the middle of a batch")
def test_a_queue_deleted_in_the_middle_of_a_batch_loses_nothing(trio: Trio, queue: str, fault: FaultRun) -> None:
    trio.up()
    batch_id = in_the_middle(trio)
    for _ in range(2):
        delete_queue(trio.vhost, queue)
        eventually(lambda: queue in queues(trio.vhost), BACK_WITHIN_S)
    later = eventually(lambda: taken(trio, "after"), BACK_WITHIN_S)
    fault.conserved(trio, [batch_id, later])
    assert ends_as(trio, batch_id) == {"sent": NUMBERS}
    assert set(trio.provider_accepted(batch_id).values()) == {1}


@pytest.mark.scenario(28, "the batches' queue deleted under posts")
def test_no_post_has_a_202_for_a_queue_that_is_not_there(trio: Trio, fault: FaultRun) -> None:
    trio.up()
    accepted = []
    for turn in range(4):
        eventually(lambda: trio.depths()[BATCHES] == 0)
        delete_queue(trio.vhost, BATCHES)
        accepted += [batch_id for number in range(3) if (batch_id := taken(trio, f"{turn} {number}"))]
        accepted.append(eventually(lambda turn=turn: taken(trio, f"{turn} 0"), BACK_WITHIN_S))
        unsettled = list(set(accepted))
        eventually(lambda ids=unsettled: all(trio.batch(each)["status"] != "accepted" for each in ids))
    fault.conserved(trio, sorted(set(accepted)))


@pytest.mark.parametrize(
    ("exchange", "queue", "key"),
    [
        pytest.param(BATCHES, BATCHES, BATCHES, id="batches"),
        pytest.param(OUTBOUND, BULK, "bulk", id="outbound"),
        pytest.param(RETRY, TIER, "2s.bulk", id="into_the_tier"),
        pytest.param(OUTBOUND, BULK, "2s.bulk", id="out_of_the_tier"),
    ],
)
@pytest.mark.scenario(28, "a binding removed in the middle of a batch")
def test_a_binding_removed_in_the_middle_of_a_batch_loses_nothing(
    trio: Trio, exchange: str, queue: str, key: str, fault: FaultRun
) -> None:
    trio.up()
    batch_id = in_the_middle(trio)
    unbind(trio.vhost, exchange, queue, key)
    later = eventually(lambda: taken(trio, "after"), BACK_WITHIN_S)
    fault.conserved(trio, [batch_id, later])
    assert ends_as(trio, batch_id) == {"sent": NUMBERS}
    assert set(trio.provider_accepted(batch_id).values()) == {1}


@pytest.mark.parametrize("queue", [BULK, TIER])
@pytest.mark.scenario(28, "a queue with other arguments")
def test_a_queue_with_other_arguments_ends_the_services_with_a_clear_error_and_all_goes_on_after_its_repair(
    trio: Trio, queue: str, fault: FaultRun
) -> None:
    trio.up()
    batch_id = in_the_middle(trio)
    workers = [trio.dispatcher, *trio.senders]
    trio.api.signal(signal.SIGSTOP)  # it has just started, and declares a second time soon after
    exchange_for_another(trio.vhost, queue, workers)
    if queue == TIER:  # nobody consumes it, so nobody notices before the next connection
        for service in workers:
            service.kill()
            service.start(wait=False)
    for service in workers:
        assert service.wait(BACK_WITHIN_S) == 1
        mismatch = json.loads(next(line for line in service.log.splitlines() if '"critical"' in line))
        assert mismatch["event"] == "topology_mismatch"
        assert queue in mismatch["reason"]
        assert "it should be" in mismatch["reason"]
    new_api = trio.start("services.api", wait=False, **trio.settings)
    assert new_api.wait(BACK_WITHIN_S) == 1
    assert "topology_mismatch" in new_api.log
    delete_queue(trio.vhost, queue)
    trio.api.signal(signal.SIGCONT)
    for service in workers:
        service.start()
    fault.conserved(trio, [batch_id])


def exchange_for_another(vhost: Vhost, queue: str, services: list[ServiceProcess]) -> None:
    """Delete a queue and declare it with other arguments, while no service can declare it again."""
    for service in services:
        service.signal(signal.SIGSTOP)
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        # RabbitMQ 3.10 does not cancel the consumers of a queue that is back within a few milliseconds.
        connection.sleep(1)
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 3})
    for service in services:
        service.signal(signal.SIGCONT)


def queues(vhost: Vhost) -> set[str]:
    """The names of the queues that there are."""
    return {queue["name"] for queue in vhost.broker.api("GET", f"queues/{vhost.name}")}


def empty(broker: OwnBroker) -> None:
    """Take everything from a broker, as if its disk were lost: queues, exchanges and messages."""
    for command in ("stop_app", "reset", "start_app"):
        broker.ctl(command)
    broker.start()


def kill_and_empty(broker: OwnBroker) -> None:
    """The same, after a crash."""
    broker.kill()
    broker.start()
    empty(broker)


@pytest.mark.parametrize("lose", [empty, kill_and_empty])
@pytest.mark.scenario(28, "a broker that lost everything while the ledger lives")
def test_all_batches_finish_on_a_broker_that_lost_everything(
    own_broker_of_each_kind: OwnBroker,
    simulator: ServiceProcess,
    settings: dict[str, str],
    start: Start,
    fault: FaultRun,
    lose: Callable[[OwnBroker], None],
) -> None:
    patient = {"SMS_PROVIDER_TIMEOUT_S": "10", "SMS_RETRY_TIERS_S": "2,60", **RECOVERS_SOON}
    trio = trio_on(own_broker_of_each_kind, simulator, {**settings, **patient}, start).up()
    settle_down()
    batch_ids = [in_the_middle(trio), trio.post(plain_numbers(NUMBERS)), trio.post(plain_numbers(20), lane="priority")]
    # What is not in the ledger yet is lost with the broker's disk, as the guarantees say.
    eventually(lambda: all(len(trio.messages(each)) == trio.posted[each] for each in batch_ids))
    lose(own_broker_of_each_kind)
    later = eventually(lambda: taken(trio, "after"), BACK_WITHIN_S)
    fault.conserved(trio, [*batch_ids, later], strict=False)
    for batch_id in batch_ids:
        assert set(ends_as(trio, batch_id)) == {"sent"}
