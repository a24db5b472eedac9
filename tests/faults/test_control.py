"""Batches paused, resumed and cancelled while the services and the broker are killed, frozen and stopped at random."""

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import requests

from tests.conftest import Start
from tests.faults.conftest import FaultRun, trio_on
from tests.faults.killing import Killer, ReplayAction, Service, Victim
from tests.faults.test_kills import plain_numbers
from tests.faults.test_random_killer import holders_of_unknown
from tests.support.own_broker import OwnBroker, settle_down
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

_BATCHES, _RECIPIENTS, _TURNS, _FAULTS = 5, 2_000, 30, 3
_SETTINGS = {
    "SMS_PROVIDER_TIMEOUT_S": "4",
    "SMS_PREFETCH": "50",  # so that the batches last as long as the killer
    "SMS_DRAIN_TIMEOUT_S": "5",
    "SMS_PUBLISH_TIMEOUT_S": "2",
}
# Shorter than the provider's timeout: what is unknown in the end comes from kills alone.
_LONGEST_FREEZE_S = 2.5
_ANSWER_TIMEOUT_S = 5
# A sender calls for what it claimed before the cancellation, within four seconds, or when it is thawed after them.
_CLAIMED_BEFORE = timedelta(seconds=4 + _LONGEST_FREEZE_S + 1.5)
OK = 200


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # The random killer itself has all of them; here a quarter shows as much in a quarter of the time.
    metafunc.parametrize("seed", range(1, max(1, metafunc.config.getoption("--seeds") // 4) + 1))


def asked(trio: Trio, batch_id: str, command: str) -> int | None:
    """The status of the api's answer; None for none, as where it is just dead."""
    place = f"{trio.api.url}/v1/batches/{batch_id}/{command}"
    try:
        answer = requests.post(place, timeout=_ANSWER_TIMEOUT_S)
    except requests.RequestException:
        return None
    assert answer.status_code in (200, 409, 503), answer.text
    return answer.status_code


def last_call(trio: Trio, batch_id: str) -> datetime:
    """When the provider had the batch's last call; long ago for none."""
    times = [datetime.fromisoformat(call["at"]) for call in trio.provider_texts(batch_id)]
    return max(times, default=datetime.min.replace(tzinfo=UTC))


def fates_of(
    seed: int, faults: int, services: Sequence[Service], broker: OwnBroker
) -> list[tuple[Victim, ReplayAction]]:
    victims: list[Victim] = [*services, broker]
    return [(victim, ReplayAction(f"{seed}:{n}", faults, _LONGEST_FREEZE_S)) for n, victim in enumerate(victims)]


@pytest.mark.scenario(32, "batches paused, resumed, cancelled while everything is killed at random")
def test_whatever_is_commanded_while_things_die_each_number_has_one_end(
    seed: int,
    own_broker_of_each_kind: OwnBroker,
    simulator: ServiceProcess,
    settings: dict[str, str],
    start: Start,
    fault: FaultRun,
) -> None:
    trio = trio_on(own_broker_of_each_kind, simulator, {**settings, **_SETTINGS}, start).up()
    services = [Service(process) for process in (trio.api, trio.dispatcher, *trio.senders)]
    settle_down()
    trio.misbehave("slow", delay_s=0.2)
    batch_ids = [trio.post(plain_numbers(_RECIPIENTS)) for _ in range(_BATCHES)]
    chance = random.Random(seed)
    # Early, so that much of them is left, whatever the killer does to the command at first.
    to_cancel = {batch_id: chance.randrange(_TURNS // 3) for batch_id in batch_ids[: _BATCHES // 2]}

    cancelled_at: dict[str, datetime] = {}

    def cancel(batch_id: str) -> int | None:
        status = asked(trio, batch_id, "cancel")
        if status == OK:
            cancelled_at.setdefault(batch_id, datetime.now(UTC))
        return status

    with Killer(fates_of(seed, _FAULTS, services, own_broker_of_each_kind)):
        for turn in range(_TURNS):
            asked(trio, chance.choice(batch_ids), chance.choice(["pause", "resume"]))
            for batch_id, first_turn in to_cancel.items():
                if turn >= first_turn and batch_id not in cancelled_at:
                    cancel(batch_id)
            time.sleep(chance.uniform(0, 0.5))

    for service in services:
        service.look()
        service.process.await_ready()
    # 409: it went its whole way, or was cancelled, before this.
    for batch_id in batch_ids:
        eventually(lambda one=batch_id: asked(trio, one, "resume") in (200, 409), 60, 0.5)
    for batch_id in to_cancel:
        eventually(lambda one=batch_id: cancel(one) in (200, 409), 60, 0.5)
    fault.conserved(trio, batch_ids)
    assert [flaw for service in services for flaw in service.flaws] == []
    assert holders_of_unknown(trio) <= {pid for service in services for pid in service.harmed}
    cancelled = {batch_id for batch_id in batch_ids if trio.messages(batch_id, state="cancelled")}
    assert cancelled_at
    assert cancelled <= set(to_cancel)
    for batch_id, at in cancelled_at.items():
        assert last_call(trio, batch_id) < at + _CLAIMED_BEFORE
