"""Processes that are killed, at named points and in the middle of their work."""

import signal
import time
from collections import Counter

import pytest
import requests

from shared.topology import outbound_queue
from tests.conftest import Start
from tests.faults.conftest import FaultRun, trio_on
from tests.support.api import post
from tests.support.brokers import Vhost
from tests.support.own_broker import OwnBroker, settle_down
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

_ALLOWS_REPEATS = {"hold": False, "resend": True}
_BEFORE = pytest.mark.scenario(1, "kill -9 of the api before the confirm")
_AFTER = pytest.mark.scenario(2, "kill -9 of the api after the confirm")


def plain_numbers(count: int) -> list[str]:
    """Numbers that the simulator has no special ending for."""
    return [f"+86138{n // 9000:04d}{n % 9000:04d}" for n in range(count)]


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet. The provider has time enough: what is unknown then comes from a kill."""
    patient = {"SMS_PROVIDER_TIMEOUT_S": "5", "SMS_AMQP_URL": each_vhost.amqp_url}
    return Trio(each_vhost, simulator, {**settings, **patient}, start)


def doomed(trio: Trio, module: str, crash_at: str, **settings: str) -> ServiceProcess:
    """A service that will die at a named point."""
    return trio.start(module, **{**trio.settings, **settings, "SMS_CRASH_AT": crash_at})


def died(service: ServiceProcess) -> bool:
    """Wait for its death, which was a kill -9, and until PostgreSQL has ended the statement that it was sent last."""
    ended = service.wait(120)
    time.sleep(1)
    return ended == -signal.SIGKILL


def ends_as(trio: Trio, batch_id: str) -> Counter[str]:
    """How many numbers ended in each state."""
    return Counter(message["state"] for message in trio.messages(batch_id))


@pytest.mark.parametrize(
    ("point", "memory"),
    [
        pytest.param("api.publishing", "in_the_ledger", marks=(_BEFORE, pytest.mark.quick(only_matrix=True))),
        pytest.param("api.publishing", "in_redis", marks=(_BEFORE, pytest.mark.quick)),
        pytest.param("api.confirmed", "in_the_ledger", marks=(_AFTER, pytest.mark.quick)),
        pytest.param("api.confirmed", "in_redis", marks=_AFTER),
    ],
)
def test_a_killed_api_gave_no_202_and_the_retry_has_the_one_batch(
    trio: Trio, request: pytest.FixtureRequest, point: str, memory: str, fault: FaultRun
) -> None:
    if memory == "in_redis":
        trio.settings["SMS_REDIS_URL"] = request.getfixturevalue("redis_url")
    dying, recipients = doomed(trio, "services.api", point, SMS_PUBLISH_TIMEOUT_S="1"), plain_numbers(300)
    with pytest.raises(requests.ConnectionError):
        post(dying, recipients, Idempotency_Key="k")
    assert died(dying)
    trio.up(senders=1)
    answers = []

    def accepted() -> bool:
        answers.append(post(trio.api, recipients, Idempotency_Key="k"))
        return answers[-1].status_code == 202

    # In Redis the request that died still counts as under way, for as long as it could have taken.
    eventually(accepted, 20, 0.2)
    assert {answer.status_code for answer in answers[:-1]} <= {409}
    assert accepted()
    (batch_id,) = {answer.json()["batch_id"] for answer in answers[-2:]}
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": 300}
    listed = requests.get(f"{trio.api.url}/v1/batches", timeout=30).json()["batches"]
    assert [batch["batch_id"] for batch in listed] == [batch_id]


@pytest.mark.scenario(3, "kill -9 of the dispatcher in the middle of 100,000")
def test_a_dispatcher_killed_in_the_middle_of_100000_resumes(trio: Trio, fault: FaultRun) -> None:
    trio.settings["SMS_PROVIDER_TIMEOUT_S"] = "30"
    trio.up(senders=2)
    batch_id = trio.post(plain_numbers(100_000))
    for progress in (0, 10_000, 50_000):
        eventually(lambda sent=progress: trio.batch(batch_id)["counts"].get("sent", 0) > sent, 180)
        trio.dispatcher.kill()
        trio.dispatcher.start()
    fault.conserved(trio, [batch_id], timeout_s=300)
    assert set(trio.provider_calls(batch_id).values()) == {1}
    assert ends_as(trio, batch_id) == {"sent": 100_000}


@pytest.mark.parametrize(
    "crash_at",
    [
        "dispatcher.written",
        "dispatcher.written:3",
        pytest.param("dispatcher.confirmed:3", marks=pytest.mark.quick(only_matrix=True)),
        "dispatcher.confirmed:6",
    ],
)
@pytest.mark.scenario(3, "kill -9 of the dispatcher between its steps")
def test_a_dispatcher_killed_between_its_steps_resumes(trio: Trio, crash_at: str, fault: FaultRun) -> None:
    trio.settings["SMS_PROVIDER_TIMEOUT_S"] = "30"
    dying = doomed(trio, "services.dispatcher", crash_at)
    trio.api = trio.start("services.api", **trio.settings)
    trio.senders = [trio.start("services.sender", **trio.settings)]
    batch_id = trio.post(plain_numbers(8000))
    assert died(dying)
    trio.dispatcher = trio.start("services.dispatcher", **trio.settings)
    fault.conserved(trio, [batch_id])
    assert set(trio.provider_calls(batch_id).values()) == {1}
    assert ends_as(trio, batch_id) == {"sent": 8000}


@pytest.mark.parametrize(
    "crash_at", [pytest.param("dispatcher.complete", marks=pytest.mark.quick), "dispatcher.confirmed"]
)
@pytest.mark.scenario(4, "kill -9 of the dispatcher after its last step, before it is marked")
def test_a_dispatcher_killed_when_all_is_done_but_the_mark_sends_nothing_again(
    trio: Trio, crash_at: str, fault: FaultRun
) -> None:
    dying = doomed(trio, "services.dispatcher", crash_at)
    trio.api = trio.start("services.api", **trio.settings)
    batch_id = trio.post(plain_numbers(400))  # one chunk of rows and one of messages
    assert died(dying)
    trio.dispatcher = trio.start("services.dispatcher", **trio.settings)
    if crash_at == "dispatcher.confirmed":
        # Nobody knows of the first copies: all are published again, before any is taken.
        eventually(lambda: trio.depths()[outbound_queue("bulk")] == 800)
    trio.senders = [trio.start("services.sender", **trio.settings)]
    fault.conserved(trio, [batch_id])
    assert set(trio.provider_calls(batch_id).values()) == {1}
    assert ends_as(trio, batch_id) == {"sent": 400}


@pytest.mark.quick
@pytest.mark.scenario(5, "kill -9 of a sender before its claim")
def test_what_a_sender_had_only_received_is_sent_once_by_another(trio: Trio, fault: FaultRun) -> None:
    dying = doomed(trio, "services.sender", "sender.received")
    trio.up(senders=0)
    batch_id = trio.post(plain_numbers(500))
    assert died(dying)
    trio.senders = [trio.start("services.sender", **trio.settings)]
    fault.conserved(trio, [batch_id])
    assert set(trio.provider_calls(batch_id).values()) == {1}
    assert ends_as(trio, batch_id) == {"sent": 500}


@pytest.mark.parametrize("on_unknown", ["hold", "resend"])
@pytest.mark.scenario(5, "kill -9 of a sender between its claim and its calls")
def test_what_a_sender_had_claimed_is_unclear_or_sent_again(trio: Trio, on_unknown: str, fault: FaultRun) -> None:
    # Nobody can tell a claim whose holder died before the call from one whose holder died in it.
    dying = doomed(trio, "services.sender", "sender.claimed")
    trio.up(senders=0)
    batch_id = trio.post(plain_numbers(500), on_unknown=on_unknown)
    assert died(dying)
    claimed = trio.batch(batch_id)["counts"]["sending"]
    assert not trio.provider_calls(batch_id)
    trio.senders = [trio.start("services.sender", **trio.settings)]
    fault.conserved(trio, [batch_id], may_repeat=_ALLOWS_REPEATS[on_unknown])
    held = claimed if on_unknown == "hold" else 0
    assert ends_as(trio, batch_id) == Counter(sent=500 - held, unknown=held)
    assert set(trio.provider_calls(batch_id).values()) == {1}


@pytest.mark.parametrize("on_unknown", ["hold", "resend"])
@pytest.mark.scenario(6, "kill -9 of a sender during its calls")
def test_the_calls_of_a_killed_sender_are_unclear_or_made_again(trio: Trio, on_unknown: str, fault: FaultRun) -> None:
    trio.up(senders=2)
    trio.misbehave("slow", delay_s=1)
    batch_id = trio.post(plain_numbers(1500), on_unknown=on_unknown)
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 100)
    eventually(lambda: trio.batch(batch_id)["counts"].get("sending", 0) > 200)
    trio.senders[0].kill()
    trio.senders[0].start()
    found = fault.conserved(trio, [batch_id], may_repeat=_ALLOWS_REPEATS[on_unknown])
    ends, calls = ends_as(trio, batch_id), trio.provider_calls(batch_id)
    assert ends["sent"] == 1500 - found.unknown
    if on_unknown == "hold":
        assert 0 < found.unknown <= 250
        assert set(calls.values()) == {1}
    else:
        assert found.unknown == 0
        assert set(calls.values()) == {1, 2}


@pytest.mark.scenario(6, "SIGSTOP of a sender during its calls, past its lease")
def test_a_sender_that_stood_still_past_its_lease_calls_nobody_twice(trio: Trio, fault: FaultRun) -> None:
    trio.up(senders=2)
    trio.misbehave("slow", delay_s=1)
    batch_id = trio.post(plain_numbers(1500))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sending", 0) > 200)
    trio.senders[0].signal(signal.SIGSTOP)
    # The lease of its claims runs out, and the others hold them as unclear.
    eventually(lambda: trio.batch(batch_id)["counts"].get("unknown", 0) > 0, 120)
    trio.senders[0].signal(signal.SIGCONT)
    assert trio.senders[0].stop(60) == 0  # by then it has recorded whatever it knows of its calls
    # Not strict: what it says of its calls after all overrules the others, whose letters stay.
    assert fault.conserved(trio, [batch_id], strict=False).unknown <= 250
    assert set(trio.provider_calls(batch_id).values()) == {1}


@pytest.mark.parametrize("on_unknown", ["hold", "resend"])
@pytest.mark.scenario(7, "kill -9 of a sender after the provider's answer, before the record")
def test_an_answer_that_nobody_recorded_is_unclear_or_asked_for_again(
    trio: Trio, on_unknown: str, fault: FaultRun
) -> None:
    # With a prefetch of one, the 30th answer is to the only call in flight.
    dying = doomed(trio, "services.sender", "sender.answered:30", SMS_PREFETCH="1")
    trio.up(senders=0)
    batch_id = trio.post(plain_numbers(300), on_unknown=on_unknown)
    assert died(dying)
    (unrecorded,) = trio.messages(batch_id, state="sending")
    assert trio.provider_accepted(batch_id)[f"{batch_id}:{unrecorded['row']}"] == 1
    trio.senders = [trio.start("services.sender", **trio.settings)]
    fault.conserved(trio, [batch_id], may_repeat=_ALLOWS_REPEATS[on_unknown])
    held, calls = (1, 1) if on_unknown == "hold" else (0, 2)
    assert ends_as(trio, batch_id) == Counter(sent=300 - held, unknown=held)
    assert trio.provider_calls(batch_id)[f"{batch_id}:{unrecorded['row']}"] == calls


@pytest.mark.parametrize(("prefetch", "passes"), [pytest.param("1", 30, marks=pytest.mark.quick), ("250", 3)])
@pytest.mark.scenario(8, "kill -9 of a sender after the record, before the ack")
def test_what_was_recorded_is_skipped_when_it_is_delivered_again(
    trio: Trio, prefetch: str, passes: int, fault: FaultRun
) -> None:
    dying = doomed(trio, "services.sender", f"sender.recorded:{passes}", SMS_PREFETCH=prefetch)
    trio.up(senders=0)
    batch_id = trio.post(plain_numbers(500))
    assert died(dying)
    recorded = {message["row"] for message in trio.messages(batch_id, state="sent")}
    in_flight = trio.batch(batch_id)["counts"].get("sending", 0)
    assert recorded
    trio.senders = [trio.start("services.sender", **trio.settings)]
    fault.conserved(trio, [batch_id])
    assert set(trio.provider_calls(batch_id).values()) == {1}
    assert ends_as(trio, batch_id) == Counter(sent=500 - in_flight, unknown=in_flight)
    assert prefetch != "1" or in_flight == 0


@pytest.mark.parametrize("passes", [pytest.param(1, marks=pytest.mark.quick(only_matrix=True)), 5])
@pytest.mark.scenario(9, "kill -9 of a sender between the retry tier's confirm and the ack")
def test_two_copies_of_a_retry_make_one_call(trio: Trio, passes: int, fault: FaultRun) -> None:
    # With a prefetch of one, all that is in flight is the message whose follow-up was just confirmed.
    dying = doomed(trio, "services.sender", f"settle.confirmed:{passes}", SMS_PREFETCH="1")
    trio.up(senders=0)
    batch_id = trio.post([f"+86138{row:04d}9003" for row in range(40)])
    assert died(dying)
    trio.senders = [trio.start("services.sender", **trio.settings) for _ in range(2)]
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": 40}
    assert set(trio.provider_accepted(batch_id).values()) == {1}
    assert set(trio.provider_calls(batch_id).values()) == {2}  # the 503, and the one that was accepted


@pytest.mark.quick(only_matrix=True)
@pytest.mark.scenario(11, "kill -9 of the broker under load")
def test_a_killed_broker_has_every_confirmed_message(
    own_broker_of_each_kind: OwnBroker,
    simulator: ServiceProcess,
    settings: dict[str, str],
    start: Start,
    fault: FaultRun,
) -> None:
    trio = trio_on(own_broker_of_each_kind, simulator, settings, start).up()
    settle_down()
    trio.misbehave("slow", delay_s=0.05)
    batch_id = trio.post(plain_numbers(5000))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 500)
    own_broker_of_each_kind.kill()
    own_broker_of_each_kind.start()
    fault.conserved(trio, [batch_id])
