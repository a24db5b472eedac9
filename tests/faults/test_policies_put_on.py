"""Policies that expire messages or queues, put on while batches are being sent."""

import json
import shlex
from typing import Any

import pytest

from shared.topology import DEAD_LETTER
from tests.conftest import Start
from tests.faults.conftest import RECOVERS_SOON, FaultRun, trio_on
from tests.faults.test_kills import ends_as
from tests.faults.test_topology_faults import BACK_WITHIN_S, TIER, queues, some_unavailable_once, taken
from tests.support.forking.process import outside_environment, run
from tests.support.own_broker import OwnBroker, settle_down
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

NUMBERS = 1000
SLOWLY = {
    "SMS_PREFETCH": "20",
    "SMS_OUTBOUND_DEPTH": "100",
    "SMS_PROVIDER_TIMEOUT_S": "10",
    "SMS_RETRY_TIERS_S": "2",
    "SMS_POLICY_LOOK_S": "0.5",
}
"""Most numbers are published, or wait in the tier, after the policy was put on."""
TTL, EXPIRES = {"message-ttl": 1000}, {"expires": 1000}


@pytest.mark.parametrize(
    ("definition", "remedy"), [(TTL, "command"), (EXPIRES, "shield")], ids=["messages_expire", "queues_expire"]
)
@pytest.mark.scenario(35, "a policy that expires messages or queues")
def test_under_a_policy_that_expires_nothing_is_accepted_and_what_it_took_is_sent_after_doctors_remedy(
    own_broker_of_each_kind: OwnBroker,
    simulator: ServiceProcess,
    settings: dict[str, str],
    start: Start,
    fault: FaultRun,
    definition: dict[str, int],
    remedy: str,
) -> None:
    broker = own_broker_of_each_kind
    own = {"SMS_MANAGEMENT_URL": broker.broker.management_url, **SLOWLY, **RECOVERS_SOON}
    trio = trio_on(broker, simulator, {**settings, **own}, start).up()
    settle_down()
    trio.misbehave("slow", delay_s=1)
    batch_id = trio.post(some_unavailable_once(NUMBERS))
    eventually(lambda: trio.batch(batch_id)["counts"].get("retrying", 0) > 0)
    broker.ctl("set_policy", "expiring", ".*", json.dumps(definition))
    eventually(lambda: all("policy_harms_queues" in each.log for each in (trio.api, trio.dispatcher, *trio.senders)))
    assert [taken(trio, f"under it {number}") for number in range(5)] == [None] * 5
    eventually(lambda: has_taken_something(trio, definition), BACK_WITHIN_S)
    found = named_by_doctor(trio)
    assert found["what"].startswith("policy expiring (pattern .*) sets ")
    broker.ctl(*shlex.split(remedies(found["todo"])[remedy])[1:])
    trio.misbehave("accept")
    later = [eventually(lambda key=key: taken(trio, f"under it {key}"), BACK_WITHIN_S) for key in range(5)]
    fault.conserved(trio, [batch_id, *later], strict=False)
    assert ends_as(trio, batch_id) == {"sent": NUMBERS}
    assert "numbers_recovered" in trio.dispatcher.log


def has_taken_something(trio: Trio, definition: dict[str, int]) -> bool:
    """Whether messages of numbers are gone: expired into the dead letters, or with the tier."""
    if definition is EXPIRES:
        return TIER not in queues(trio.vhost)
    return trio.depths()[DEAD_LETTER] > 0


def named_by_doctor(trio: Trio) -> dict[str, Any]:
    """The policy as smsctl doctor names it."""
    environment = outside_environment(**{**trio.settings, "SMS_API_URL": trio.api.url})
    ended = run("tools.ctl", "doctor", "--json", environment=environment, timeout_s=120)
    assert ended.returncode == 1, ended.stderr
    (found,) = (each for each in json.loads(ended.stdout)["findings"] if "expiring" in each["what"])
    assert isinstance(found, dict)
    return found


def remedies(todo: str) -> dict[str, str]:
    """The two commands of a remedy."""
    command, _, shield = todo.removesuffix(")").partition("  (or, where other queues need it: ")
    return {"command": command, "shield": shield}
