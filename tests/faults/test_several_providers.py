"""Several providers: one of them dies, refuses our account, is known to some senders only; and the file is read again
while all of them are called."""

import time
from pathlib import Path

import pytest
import requests

from tests.conftest import Start
from tests.faults.conftest import FaultRun
from tests.faults.test_kills import ends_as, plain_numbers
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.several import Several

NUMBERS, QUICK_NUMBERS = 10_000, 4_000
SLOWLY = {"delay_s": 0.1}


@pytest.fixture
def several(
    each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start, tmp_path: Path
) -> Several:
    """Two providers, three to one; nothing of it runs yet."""
    file = tmp_path / "providers.toml"
    own = {
        "SMS_AMQP_URL": each_vhost.amqp_url,
        "SMS_PROVIDERS_FILE": str(file),
        "SMS_PROVIDER_TIMEOUT_S": "10",
        "SMS_PREFETCH": "50",
    }
    trio = Several(each_vhost, simulator, {**settings, **own}, start, file=file)
    return trio.has(one="weight = 3", two="weight = 1")


def slowly(trio: Several) -> None:
    """So that thousands take seconds."""
    for name in ("one", "two"):
        trio.behave(name, "slow", **SLOWLY)


@pytest.mark.parametrize("how", [pytest.param("503", marks=pytest.mark.quick), "500", "throttle"])
@pytest.mark.scenario(41, "one of two providers dies in the middle")
def test_the_other_provider_takes_over_and_the_dead_one_comes_back(
    several: Several, how: str, fault: FaultRun, pytestconfig: pytest.Config
) -> None:
    in_full = pytestconfig.getoption("--all-faults") or pytestconfig.getoption("--matrix")
    several.up()
    slowly(several)
    batch_id = several.post(plain_numbers(NUMBERS if in_full else QUICK_NUMBERS))
    eventually(lambda: several.batch(batch_id)["counts"].get("sent", 0) > 200)
    several.behave("one", how, **({"retry_after_s": 30} if how == "throttle" else {}))
    pinned = several.post(plain_numbers(50), provider="one")
    other = several.post(plain_numbers(500))
    assert several.finished(other) == {"sent": 500}
    assert several.batch(pinned)["counts"].get("sent", 0) == 0
    several.behave("one", "accept")
    fault.conserved(several, [batch_id, pinned, other])
    for each in (batch_id, pinned):
        ends = ends_as(several, each)
        # Where every answer is unclear, the calls under way, those until the circuit opens, and the probes.
        assert ends.pop("unknown", 0) <= (150 if how == "500" else 0)
        assert set(ends) == {"sent"}


@pytest.mark.quick(only_matrix=True)
@pytest.mark.scenario(42, "one of two providers refuses our account in the middle")
def test_a_refused_account_at_one_of_two_fails_nobody_and_takes_nobodys_attempt(
    several: Several, fault: FaultRun
) -> None:
    several.settings["SMS_MAX_ATTEMPTS"] = "1"
    several.up()
    slowly(several)
    batch_id = several.post(plain_numbers(NUMBERS))
    eventually(lambda: several.batch(batch_id)["counts"].get("sent", 0) > 200)
    several.behave("one", "401")
    eventually(lambda: [(held["provider"], held["cause"]) for held in several.held()] == [("one", "account")])
    pinned = several.post(plain_numbers(50), provider="one")
    assert several.finished(batch_id, 120) == {"sent": NUMBERS}
    several.behave("one", "accept")
    several.command("provider", "resume", "one")
    fault.conserved(several, [batch_id, pinned])
    assert ends_as(several, pinned) == {"sent": 50}


@pytest.mark.scenario(43, "the providers file is read again and again under load")
def test_weights_and_rates_change_under_load_and_nothing_is_lost(several: Several, fault: FaultRun) -> None:
    several.up()
    slowly(several)
    batch_id = several.post(plain_numbers(NUMBERS))
    until_s = time.monotonic() + 15
    changes = 0
    while time.monotonic() < until_s:
        changes += 1
        several.has(one=f"weight = {1 + changes % 5}\nrate = {400 + changes}", two=f"weight = {1 + changes % 3}")
        several.reload()
    fault.conserved(several, [batch_id])
    assert ends_as(several, batch_id) == {"sent": NUMBERS}
    assert changes > 3


@pytest.mark.scenario(44, "a sender that knows only one of two providers, beside one that is killed")
def test_a_provider_that_no_sender_serves_for_a_while_holds_up_nobody_else(several: Several, fault: FaultRun) -> None:
    several.up(senders=1)
    (both,) = several.senders
    only_one = several.start("services.sender", **{**several.settings, "SMS_PROVIDERS": "one"})
    several.senders.append(only_one)
    slowly(several)
    pinned = several.post(plain_numbers(300), provider="two")
    batch_id = several.post(plain_numbers(2000), provider="one")
    eventually(lambda: several.batch(pinned)["counts"].get("sent", 0) > 20)
    both.kill()
    assert several.finished(batch_id, 120).keys() <= {"sent", "unknown"}
    assert several.batch(pinned)["status"] == "running"
    assert 'provider="two"' not in requests.get(f"{only_one.url}/metrics", timeout=30).text
    both.start()
    fault.conserved(several, [batch_id, pinned])
