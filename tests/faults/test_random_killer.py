"""All three services and the broker killed, frozen and stopped at random, by a seed, while batches go out."""

import random
import time
from collections.abc import Sequence

import pytest
import requests

from tests.conftest import Start
from tests.faults.conftest import FaultRun, trio_on
from tests.faults.killing import Killer, ReplayAction, Service, Victim
from tests.faults.test_kills import plain_numbers
from tests.support.api import post
from tests.support.ledger import ask
from tests.support.own_broker import OwnBroker, settle_down
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

_RECIPIENTS, _QUICK_RECIPIENTS = 10_000, 2_000
_FIRST_BATCH = 0.8
_SMALL_BATCH = 100
_FAULTS, _QUICK_FAULTS = 3, 1
_REFUSED = "9005"
_ENDINGS = {"9003": 0.1, "9001": 0.01, _REFUSED: 0.01}
"""Shares of numbers that get a 503 first, a slow answer, a refusal; the others an answer after 0.2 s."""
_SETTINGS = {
    "SMS_PROVIDER_TIMEOUT_S": "4",
    "SMS_MAX_ATTEMPTS": "6",
    "SMS_PREFETCH": "50",  # so that the batches last as long as the killer
    "SMS_DRAIN_TIMEOUT_S": "5",
    "SMS_PUBLISH_TIMEOUT_S": "2",
}
# A sender's is shorter than the provider's timeout, so that it makes few calls unclear.
_SENDER_FROZEN_S, _FROZEN_S = 2.5, 8.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", range(1, metafunc.config.getoption("--seeds") + 1))


def mixed_numbers(count: int, chance: random.Random) -> list[str]:
    """Different numbers, some with an ending that the simulator knows."""
    plain = [*_ENDINGS, ""]
    weights = [*_ENDINGS.values(), 1 - sum(_ENDINGS.values())]
    endings = chance.choices(plain, weights, k=count)
    return [
        f"+86139{row:04d}{ending}" if ending else number
        for row, (number, ending) in enumerate(zip(plain_numbers(count), endings, strict=True))
    ]


def accepted(api: ServiceProcess, recipients: Sequence[str], key: str) -> str:
    """Post until there is a 202, as a client would; the batch's id."""

    def attempt() -> str | None:
        try:
            answer = post(api, recipients, Idempotency_Key=key)
        except requests.RequestException:
            return None
        assert answer.status_code in (202, 409, 503), answer.text
        return str(answer.json()["batch_id"]) if answer.status_code == 202 else None

    return str(eventually(attempt, 120, 0.2))


def fates_of(
    seed: int, faults: int, processes: Sequence[Service], broker: OwnBroker
) -> list[tuple[Victim, ReplayAction]]:
    """Everybody's fate; the broker takes longest to start, so it has fewer."""
    fates: list[tuple[Victim, ReplayAction]] = []
    for number, victim in enumerate(processes):
        longest_s = _SENDER_FROZEN_S if victim.process.module == "services.sender" else _FROZEN_S
        fates.append((victim, ReplayAction(f"{seed}:{number}", faults, longest_s)))
    of_broker = ReplayAction(f"{seed}:broker", random.Random(seed).randint(1, max(1, faults - 1)), _FROZEN_S)
    return [*fates, (broker, of_broker)]


@pytest.mark.quick
@pytest.mark.scenario(10, "three services and the broker killed at random")
def test_whatever_dies_each_number_has_one_end(
    seed: int,
    own_broker_of_each_kind: OwnBroker,
    simulator: ServiceProcess,
    settings: dict[str, str],
    start: Start,
    fault: FaultRun,
    pytestconfig: pytest.Config,
) -> None:
    in_full = pytestconfig.getoption("--all-faults")
    count, faults = (_RECIPIENTS, _FAULTS) if in_full else (_QUICK_RECIPIENTS, _QUICK_FAULTS)
    trio = trio_on(own_broker_of_each_kind, simulator, {**settings, **_SETTINGS}, start).up(senders=2)
    second = trio.start("services.dispatcher", **trio.settings)
    processes = [Service(process) for process in (trio.api, trio.dispatcher, second, *trio.senders)]
    settle_down()
    trio.misbehave("slow", delay_s=0.2)
    chance = random.Random(seed)
    recipients = mixed_numbers(count, chance)
    first = round(count * _FIRST_BATCH)
    keyed = {f"{seed}-first": recipients[:first]}
    for begin in range(first, count, _SMALL_BATCH):
        keyed[f"{seed}-{begin}"] = recipients[begin : begin + _SMALL_BATCH]

    first_id = accepted(trio.api, keyed[f"{seed}-first"], f"{seed}-first")
    eventually(lambda: trio.batch(first_id)["counts"].get("sent", 0) > 0)
    batch_ids = {}
    with Killer(fates_of(seed, faults, processes, own_broker_of_each_kind)):
        for key, numbers in keyed.items():
            batch_ids[key] = accepted(trio.api, numbers, key)
            trio.posted[batch_ids[key]] = len(numbers)
            time.sleep(chance.uniform(0, 1))

    for victim in processes:
        victim.look()
        victim.process.await_ready()
    assert {key: accepted(trio.api, numbers, key) for key, numbers in keyed.items()} == batch_ids
    fault.conserved(trio, list(batch_ids.values()))
    assert [flaw for victim in processes for flaw in victim.flaws] == []
    assert failed(trio) <= {_REFUSED}
    # Nothing is unclear but the calls of senders that were killed, or that heard the answer too late.
    assert holders_of_unknown(trio) <= {pid for victim in processes for pid in victim.harmed}


def failed(trio: Trio) -> set[str]:
    """The endings of the numbers that failed."""
    failures = (message for batch_id in trio.posted for message in trio.messages(batch_id, state="failed"))
    return {str(message["recipient"])[-4:] for message in failures}


def holders_of_unknown(trio: Trio) -> set[int]:
    """The process ids of the senders that claimed what is unknown now: `sender@host/<pid>-…`."""
    query = "SELECT DISTINCT claimed_by FROM messages WHERE state = 'unknown'"
    claims = [holder for (holder,) in ask(trio.settings["SMS_DATABASE_URL"], query)]
    return {int(holder.rpartition("/")[2].partition("-")[0]) for holder in claims}
