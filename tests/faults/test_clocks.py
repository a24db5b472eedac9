"""Clocks that are wrong, and that jump while calls are under way."""

import pytest
import requests

from tests.conftest import Start
from tests.faults.conftest import RECOVERS_SOON, FaultRun
from tests.faults.test_kills import ends_as, plain_numbers
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio
from tests.support.wrong_clock import WrongClock

HOUR_S = 3600
NUMBERS = 300


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet. Each call takes longer than it takes the dispatcher to look for what stands still."""
    simulated = {"SMS_PROVIDER_TIMEOUT_S": "6", "SMS_PREFETCH": "60", "SMS_LEASE_MARGIN_S": "4", **RECOVERS_SOON}
    return Trio(each_vhost, simulator, {**settings, **simulated, "SMS_AMQP_URL": each_vhost.amqp_url}, start)


def says_that_its_clock_is_wrong(service: ServiceProcess) -> bool:
    answer = requests.get(f"{service.url}/readyz", timeout=5)
    return answer.status_code == 503 and "clock" in answer.json().get("reasons", {})


@pytest.mark.quick
@pytest.mark.scenario(36, "a sender whose clock is an hour slow, beside a right one")
def test_no_number_is_called_twice_beside_a_sender_whose_clock_is_an_hour_slow(
    trio: Trio, wrong_clock: WrongClock, fault: FaultRun
) -> None:
    wrong_clock.set(-HOUR_S)
    slow = trio.start("services.sender", wait=False, **trio.settings, **wrong_clock.environment)
    trio.up(senders=1)
    eventually(lambda: "health_listening" in slow.log)
    trio.misbehave("slow", delay_s=2)
    batch_id = trio.post(plain_numbers(NUMBERS), on_unknown="resend")
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": NUMBERS}
    assert set(trio.provider_calls(batch_id).values()) == {1}
    assert says_that_its_clock_is_wrong(slow)


@pytest.mark.parametrize(
    ("whose", "ahead_s"),
    [
        pytest.param("sender", -HOUR_S, marks=pytest.mark.quick(only_matrix=True)),
        ("sender", HOUR_S),
        ("dispatcher", -HOUR_S),
        ("dispatcher", HOUR_S),
    ],
)
@pytest.mark.scenario(36, "a clock that jumps while calls are under way")
def test_no_number_is_called_twice_when_a_clock_jumps_while_calls_are_under_way(
    trio: Trio, wrong_clock: WrongClock, whose: str, ahead_s: int, fault: FaultRun
) -> None:
    trio.up(senders=1)
    jumping = trio.start(f"services.{whose}", **trio.settings, **wrong_clock.environment)
    trio.misbehave("slow", delay_s=2)
    batch_id = trio.post(plain_numbers(NUMBERS), on_unknown="resend")
    eventually(lambda: len(trio.provider_calls(batch_id)) > NUMBERS / 4)
    wrong_clock.set(ahead_s)
    eventually(lambda: says_that_its_clock_is_wrong(jumping))
    wrong_clock.set(0)
    jumping.await_ready()
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": NUMBERS}
    assert set(trio.provider_calls(batch_id).values()) == {1}


@pytest.mark.parametrize("ahead_s", [-HOUR_S, HOUR_S])
@pytest.mark.scenario(36, "the clock of a machine with everything on it jumps for good")
def test_no_number_is_called_twice_when_the_clock_of_the_one_machine_jumps_for_good(
    trio: Trio, wrong_clock: WrongClock, sqlite_url: str, ahead_s: int, fault: FaultRun
) -> None:
    trio.settings |= {"SMS_DATABASE_URL": sqlite_url, **wrong_clock.environment}
    trio.up(senders=2)
    trio.misbehave("slow", delay_s=2)
    batch_id = trio.post(plain_numbers(NUMBERS), on_unknown="resend")
    eventually(lambda: len(trio.provider_calls(batch_id)) > NUMBERS / 4)
    wrong_clock.set(ahead_s)
    for service in (trio.dispatcher, *trio.senders):
        eventually(lambda jumped=service: says_that_its_clock_is_wrong(jumped))
    for service in (trio.dispatcher, *trio.senders):
        service.await_ready()
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": NUMBERS}
    assert set(trio.provider_calls(batch_id).values()) == {1}
