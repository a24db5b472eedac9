"""A service whose clock is wrong says so and takes no work until it is right."""

import pytest
import requests

from shared.topology import BATCHES, Lane, outbound_queue
from tests.conftest import Start
from tests.integration.test_recovery import plain
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for
from tests.support.wrong_clock import WrongClock

HOUR_S = 3600


@pytest.fixture
def trio(vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    return Trio(vhost, simulator, settings_for(vhost, postgres_url, simulator), start)


def wrong(service: ServiceProcess) -> str | None:
    """What its clock is said to be."""
    try:
        answer = requests.get(f"{service.url}/readyz", timeout=5)
    except requests.ConnectionError:
        return None
    reason = answer.json().get("reasons", {}).get("clock", "")
    return str(reason) if answer.status_code == 503 and "clock is" in reason else None


def difference_s(service: ServiceProcess) -> float:
    lines = requests.get(f"{service.url}/metrics", timeout=5).text.splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith("sms_clock_difference_seconds "))
    return float(value)


@pytest.mark.parametrize(
    ("whose", "ahead_s", "said", "queue"),
    [
        ("sender", -HOUR_S, "s behind the database's", outbound_queue(Lane.BULK)),
        ("dispatcher", HOUR_S, "s ahead of the database's", BATCHES),
    ],
)
def test_a_worker_whose_clock_is_an_hour_off_says_so_and_takes_no_work_until_it_is_right(
    trio: Trio, wrong_clock: WrongClock, whose: str, ahead_s: int, said: str, queue: str
) -> None:
    trio.up(senders=1)
    right = trio.senders[0] if whose == "sender" else trio.dispatcher
    right.stop()
    wrong_clock.set(ahead_s)
    late = trio.start(f"services.{whose}", wait=False, **trio.settings, **wrong_clock.environment)
    reason = eventually(lambda: wrong(late))
    assert said in reason
    assert abs(difference_s(late) - ahead_s) < 60
    batch_id = trio.post(plain(20))
    eventually(lambda: trio.depths()[queue] > 0)
    assert trio.provider_calls(batch_id) == {}
    wrong_clock.set(0)
    late.await_ready()
    assert trio.finished(batch_id) == {"sent": 20}
    assert late.log.count('"clock_wrong"') == late.log.count('"clock_right_again"') == 1
    assert '"level":"error"' in next(line for line in late.log.splitlines() if "clock_wrong" in line)


def test_a_dispatcher_whose_clock_jumps_leaves_its_batches_to_another(trio: Trio, wrong_clock: WrongClock) -> None:
    trio.settings["SMS_OUTBOUND_DEPTH"] = "20"
    trio.up(senders=1)
    trio.dispatcher.stop()
    jumping = trio.start("services.dispatcher", **trio.settings, **wrong_clock.environment)
    trio.misbehave("slow", delay_s=0.2)
    batch_id = trio.post(plain(1500))
    eventually(lambda: len(trio.provider_calls(batch_id)) > 20)
    wrong_clock.set(HOUR_S)
    eventually(lambda: wrong(jumping))
    trio.dispatcher.start()
    assert trio.finished(batch_id, 120) == {"sent": 1500}
    assert set(trio.provider_calls(batch_id).values()) == {1}
    assert wrong(jumping)


def test_an_api_whose_clock_is_wrong_is_not_ready(trio: Trio, wrong_clock: WrongClock) -> None:
    wrong_clock.set(-HOUR_S)
    api = trio.start("services.api", wait=False, **trio.settings, **wrong_clock.environment)
    assert "s behind the database's" in eventually(lambda: wrong(api))
    wrong_clock.set(0)
    api.await_ready()
