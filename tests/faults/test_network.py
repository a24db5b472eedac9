"""A broker that is restarted or stands still, and connections to it that break, wholly or one way."""

import time
from collections.abc import Iterator

import pytest
import requests

from tests.conftest import Start
from tests.faults.conftest import FaultRun, trio_on
from tests.faults.test_kills import ends_as, plain_numbers
from tests.support.api import post
from tests.support.brokers import Vhost
from tests.support.own_broker import OwnBroker, settle_down
from tests.support.processes import ServiceProcess, eventually
from tests.support.proxy import Direction, Proxy, proxy
from tests.support.trio import Trio

_RECONNECTED_WITHIN_S = 30
_FROZEN_S = 60
_FOUND_OUT_WITHIN_S = 40


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet. The provider has time enough: what is unknown then comes from the fault."""
    patient = {"SMS_PROVIDER_TIMEOUT_S": "10", "SMS_AMQP_URL": each_vhost.amqp_url}
    return Trio(each_vhost, simulator, {**settings, **patient}, start)


@pytest.fixture
def between(each_vhost: Vhost) -> Iterator[Proxy]:
    """A proxy before the broker."""
    with proxy(each_vhost.broker.host, each_vhost.broker.amqp_port) as between:
        yield between


def through(trio: Trio, between: Proxy) -> dict[str, str]:
    """The settings of a service whose way to the broker leads through the proxy."""
    broker = trio.vhost.broker
    url = f"amqp://{broker.user}:{broker.password}@127.0.0.1:{between.port}/{trio.vhost.name}"
    return {**trio.settings, "SMS_AMQP_URL": url}


def sent(trio: Trio, batch_id: str) -> int:
    """How many of the batch's numbers are sent."""
    return int(trio.batch(batch_id)["counts"].get("sent", 0))


def services(trio: Trio) -> list[ServiceProcess]:
    """Every process of ours."""
    return [trio.api, trio.dispatcher, *trio.senders]


def some_unavailable_once(count: int) -> list[str]:
    """Numbers of which every fourth gets a 503 first, so that a follow-up has to be published and confirmed."""
    plain = plain_numbers(count)
    return [f"+86139{row:04d}9003" if row % 4 == 0 else number for row, number in enumerate(plain)]


@pytest.mark.scenario(12, "orderly restart of the broker")
def test_a_restarted_broker_is_found_again_and_nothing_is_accepted_meanwhile(
    own_broker_of_each_kind: OwnBroker,
    simulator: ServiceProcess,
    settings: dict[str, str],
    start: Start,
    fault: FaultRun,
) -> None:
    trio = trio_on(own_broker_of_each_kind, simulator, {**settings, "SMS_PROVIDER_TIMEOUT_S": "10"}, start).up()
    settle_down()
    trio.misbehave("slow", delay_s=0.05)
    batch_id = trio.post(plain_numbers(5000))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 500)
    own_broker_of_each_kind.stop()
    keys = [f"key-{number}" for number in range(4)]
    refused = [post(trio.api, Idempotency_Key=key) for key in keys]
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    own_broker_of_each_kind.start()
    for service in services(trio):
        service.await_ready(_RECONNECTED_WITHIN_S)
    accepted = [post(trio.api, Idempotency_Key=key) for key in keys]
    assert {answer.status_code for answer in accepted} == {202}
    batch_ids = [batch_id, *(answer.json()["batch_id"] for answer in accepted)]
    assert fault.conserved(trio, batch_ids).unknown == 0
    assert ends_as(trio, batch_id) == {"sent": 5000}


@pytest.mark.scenario(13, "the broker frozen for 60 s")
def test_a_frozen_broker_is_found_out_and_what_timed_out_is_sent_once(
    own_broker_of_each_kind: OwnBroker,
    simulator: ServiceProcess,
    settings: dict[str, str],
    start: Start,
    fault: FaultRun,
) -> None:
    settings = {**settings, "SMS_PROVIDER_TIMEOUT_S": "10", "SMS_PUBLISH_TIMEOUT_S": "3"}
    trio = trio_on(own_broker_of_each_kind, simulator, settings, start).up()
    settle_down()
    trio.misbehave("slow", delay_s=0.05)
    batch_id = trio.post(some_unavailable_once(8000))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 500)
    keys = [f"key-{number}" for number in range(3)]
    frozen_at_s = time.monotonic()
    own_broker_of_each_kind.freeze()
    try:
        answers = [post(trio.api, Idempotency_Key=key).status_code for key in keys]
        for service in services(trio):
            within_s = frozen_at_s + _FOUND_OUT_WITHIN_S - time.monotonic()
            eventually(lambda service=service: not service.is_ready(), within_s)
        while time.monotonic() < frozen_at_s + _FROZEN_S:
            answers += [post(trio.api, Idempotency_Key=key).status_code for key in keys]
            time.sleep(1)
    finally:
        own_broker_of_each_kind.thaw()
    assert set(answers) == {503}
    for service in services(trio):
        service.await_ready(_RECONNECTED_WITHIN_S)
    repeated = [[post(trio.api, Idempotency_Key=key) for _ in range(2)] for key in keys]
    assert {answer.status_code for pair in repeated for answer in pair} == {202}
    ids = [{answer.json()["batch_id"] for answer in pair} for pair in repeated]
    assert fault.conserved(trio, [batch_id, *(batch_id for (batch_id,) in ids)]).unknown == 0
    assert ends_as(trio, batch_id) == {"sent": 8000}


@pytest.mark.quick(only_matrix=True)
@pytest.mark.scenario(14, "api and broker: the confirm lost")
def test_a_confirm_that_never_came_is_a_503_and_its_retry_the_one_batch(
    trio: Trio, between: Proxy, fault: FaultRun
) -> None:
    trio.settings["SMS_PUBLISH_TIMEOUT_S"] = "2"
    trio.up()
    trio.api.kill()
    trio.api = trio.start("services.api", **through(trio, between))
    recipients = plain_numbers(300)
    between.swallow(Direction.TO_CLIENT)
    assert post(trio.api, recipients, Idempotency_Key="k").status_code == 503
    (arrived,) = eventually(lambda: requests.get(f"{trio.api.url}/v1/batches", timeout=30).json()["batches"])
    between.heal()
    answer = eventually(lambda: (one := post(trio.api, recipients, Idempotency_Key="k")).ok and one)
    assert answer.json()["batch_id"] == arrived["batch_id"]
    assert fault.conserved(trio, [arrived["batch_id"]]).unknown == 0
    assert ends_as(trio, arrived["batch_id"]) == {"sent": 300}


@pytest.mark.parametrize(
    ("times", "count"),
    [
        pytest.param(2, 3000, marks=pytest.mark.quick),
        pytest.param(4, 6000, marks=pytest.mark.quick(only_matrix=True)),
    ],
)
@pytest.mark.scenario(14, "dispatcher and broker: connections cut")
def test_a_dispatcher_whose_connections_are_cut_again_and_again_sends_nothing_twice(
    trio: Trio, between: Proxy, times: int, count: int, fault: FaultRun
) -> None:
    trio.up()
    trio.dispatcher.kill()
    # Little room on the queue and a slow way there: at each cut, messages are on their way.
    trio.dispatcher = trio.start("services.dispatcher", **through(trio, between), SMS_OUTBOUND_DEPTH="300")
    between.delay(0.05, Direction.TO_SERVER)
    trio.misbehave("slow", delay_s=0.05)
    batch_id = trio.post(plain_numbers(count))
    cuts = []
    for _ in range(times):
        eventually(trio.dispatcher.is_ready)
        before = sent(trio, batch_id)
        eventually(lambda before=before: sent(trio, batch_id) > before + 200)
        cuts.append(between.cut())
    between.refuse()
    eventually(lambda: not trio.dispatcher.is_ready())
    between.heal()
    assert min(cuts) == 2  # to publish, and to consume
    assert fault.conserved(trio, [batch_id]).unknown == 0
    assert set(trio.provider_calls(batch_id).values()) == {1}


@pytest.mark.scenario(14, "dispatcher and broker: the confirms come late")
def test_confirms_that_come_late_are_waited_for(trio: Trio, between: Proxy, fault: FaultRun) -> None:
    trio.up()
    trio.dispatcher.kill()
    trio.dispatcher = trio.start("services.dispatcher", **through(trio, between))
    between.delay(0.3, Direction.TO_CLIENT)
    batch_id = trio.post(plain_numbers(4000))
    assert fault.conserved(trio, [batch_id]).unknown == 0
    assert set(trio.provider_calls(batch_id).values()) == {1}


@pytest.mark.parametrize("lost", list(Direction))
@pytest.mark.scenario(14, "dispatcher and broker: one way lost")
def test_a_dispatcher_that_hears_nothing_or_is_not_heard_sends_nothing_twice(
    trio: Trio, between: Proxy, lost: Direction, fault: FaultRun
) -> None:
    trio.up()
    trio.dispatcher.kill()
    trio.dispatcher = trio.start("services.dispatcher", **through(trio, between))
    trio.misbehave("slow", delay_s=0.1)
    between.delay(0.5, Direction.TO_CLIENT)  # so that confirms are on their way when the way is lost
    batch_id = trio.post(plain_numbers(8000))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 300)
    between.swallow(lost)
    eventually(lambda: not trio.dispatcher.is_ready(), 60)
    between.heal()
    assert fault.conserved(trio, [batch_id]).unknown == 0
    assert set(trio.provider_calls(batch_id).values()) == {1}


@pytest.mark.parametrize("lost", list(Direction))
@pytest.mark.scenario(14, "a sender and the broker: one way lost")
def test_a_sender_that_hears_nothing_or_is_not_heard_calls_nobody_twice(
    trio: Trio, between: Proxy, lost: Direction, fault: FaultRun
) -> None:
    trio.up(senders=1)
    trio.senders.append(trio.start("services.sender", **through(trio, between)))
    trio.misbehave("slow", delay_s=0.3)
    batch_id = trio.post(some_unavailable_once(6000))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 300)
    between.swallow(lost)
    # Never healed before the end: the other sender gets what the broker thinks unsettled, and all is called once.
    assert fault.conserved(trio, [batch_id]).unknown == 0
    calls, accepted = trio.provider_calls(batch_id), trio.provider_accepted(batch_id)
    assert set(accepted.values()) == {1}
    assert sum(calls.values()) == 6000 + 1500
    assert "broker_connection_lost" in trio.senders[1].log
