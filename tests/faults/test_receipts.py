"""Receipts while everything dies: each that was answered with success is in the ledger, or with the unmatched ones."""

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Start
from tests.faults.conftest import FaultRun, trio_on
from tests.faults.killing import Killer, Service
from tests.faults.test_kills import plain_numbers
from tests.faults.test_random_killer import accepted, fates_of, holders_of_unknown
from tests.support.own_broker import OwnBroker, settle_down
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

_RECIPIENTS, _QUICK_RECIPIENTS = 100_000, 3_000
_FAULTS, _QUICK_FAULTS = 3, 1
_SENDERS, _QUICK_SENDERS = 5, 2
_SECRET = "a-path-that-nobody-guesses"
_SETTINGS = {
    "SMS_PROVIDER_TIMEOUT_S": "4",
    "SMS_MAX_ATTEMPTS": "6",
    "SMS_DRAIN_TIMEOUT_S": "5",
    "SMS_PUBLISH_TIMEOUT_S": "2",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", range(1, metafunc.config.getoption("--seeds") + 1))


def told(simulator: ServiceProcess) -> dict[str, Any]:
    """What the provider has told, and how many receipts are still to come."""
    found: dict[str, Any] = requests.get(f"{simulator.url}/receipts", timeout=60).json()
    return found


def states(trio: Trio, batch_id: str) -> dict[str, str]:
    """The states by reference."""
    return {f"{batch_id}:{row['row']}": row["state"] for row in trio.messages(batch_id)}


@pytest.mark.quick
@pytest.mark.scenario(45, "receipts early, late, twice and lost while services and broker are killed at random")
def test_every_receipt_that_was_taken_settles_its_number(
    seed: int,
    own_broker_of_each_kind: OwnBroker,
    simulator: ServiceProcess,
    settings: dict[str, str],
    start: Start,
    fault: FaultRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    in_full = pytestconfig.getoption("--all-faults")
    count, faults, senders = (
        (_RECIPIENTS, _FAULTS, _SENDERS) if in_full else (_QUICK_RECIPIENTS, _QUICK_FAULTS, _QUICK_SENDERS)
    )
    monkeypatch.setenv("RECEIPTS_PATH", _SECRET)
    file = tmp_path / "providers.toml"
    file.write_text(
        f'[providers.main]\ntype = "plain"\nurl = "{simulator.url}/messages"\nallow_http = true\n'
        'receipts = { secret = "env:RECEIPTS_PATH" }\n'
    )
    own = {**settings, **_SETTINGS, "SMS_PROVIDERS_FILE": str(file)}
    trio = trio_on(own_broker_of_each_kind, simulator, own, start).up(senders=senders)
    second = trio.start("services.dispatcher", **trio.settings)
    processes = [Service(process) for process in (trio.api, trio.dispatcher, second, *trio.senders)]
    settle_down()
    trio.misbehave("slow", delay_s=0.2)
    urls = {"plain": f"{trio.api.url}/v1/receipts/main/{_SECRET}"}
    behaviour = {"urls": urls, "undelivered": 0.1, "lost": 0.01, "twice": 0.2, "shuffled_s": 3, "seed": seed}
    assert requests.put(f"{simulator.url}/receipts", json=behaviour, timeout=30).status_code == 200

    batch_id = accepted(trio.api, plain_numbers(count), f"{seed}-receipts")
    trio.posted[batch_id] = count
    eventually(lambda: trio.batch(batch_id)["counts"].get("delivered", 0) > 0)
    with Killer(fates_of(seed, faults, processes, own_broker_of_each_kind)):
        pass
    for victim in processes:
        victim.look()
        victim.process.await_ready()

    trio.finished(batch_id, 600)
    eventually(lambda: told(simulator)["waiting"] == 0, 300, 0.5)
    taken = {reference: set(arrived) for reference, arrived in told(simulator)["taken"].items()}
    assert all(len(arrived) == 1 for arrived in taken.values())
    wanted = {reference: "delivered" if arrived == {True} else "undelivered" for reference, arrived in taken.items()}

    def not_settled() -> dict[str, str]:
        found = states(trio, batch_id)
        return {reference: found[reference] for reference, state in wanted.items() if found[reference] != state}

    eventually(lambda: not not_settled(), 120, 0.5)
    # A number that was unclear may be settled by its receipt; its letter then is stale.
    fault.conserved(trio, [batch_id], strict=False)
    found = states(trio, batch_id)
    assert {reference for reference, state in found.items() if state in ("delivered", "undelivered")} == taken.keys()
    counts = trio.batch(batch_id)["counts"]
    assert sum(counts.values()) == count
    assert trio.depths()["sms.receipts.unmatched"] == 0
    assert 0 < len(taken) < count
    assert [flaw for victim in processes for flaw in victim.flaws] == []
    assert holders_of_unknown(trio) <= {pid for victim in processes for pid in victim.harmed}
