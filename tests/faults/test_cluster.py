"""A cluster of three whose nodes die: with a majority everything goes on, without one the api says 503."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from shared.topology import outbound_queue
from tests.conftest import Start
from tests.faults.conftest import FaultRun
from tests.faults.test_kills import plain_numbers
from tests.support.api import TIMEOUT_S, post
from tests.support.cluster import NODES, Cluster, running_cluster
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

pytestmark = pytest.mark.docker

BULK = outbound_queue("bulk")
RECIPIENTS = 10_000
HEAL_TIMEOUT_S = 300


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def trio(cluster: Cluster, simulator: ServiceProcess, settings: dict[str, str], start: Start, fault: FaultRun) -> Trio:
    fault.broker = "cluster"
    return Trio(cluster.vhost, simulator, {**settings, "SMS_AMQP_URL": cluster.amqp_urls}, start).up()


def sent(trio: Trio, batch_id: str) -> int:
    return int(trio.batch(batch_id)["counts"].get("sent", 0))


def under_way(trio: Trio, more: int = 500) -> str:
    """A big batch in the middle of its sending."""
    trio.misbehave("slow", delay_s=0.05)
    batch_id = trio.post(plain_numbers(RECIPIENTS))
    eventually(lambda: sent(trio, batch_id) > more, 120)
    return batch_id


def goes_on(trio: Trio, batch_id: str) -> None:
    before = sent(trio, batch_id)
    eventually(lambda: sent(trio, batch_id) > before + 500, 120)


@pytest.mark.scenario(15, "cluster: the leader killed, then a majority")
def test_without_its_leader_a_queue_goes_on_and_without_a_majority_the_api_says_503(
    cluster: Cluster, trio: Trio, fault: FaultRun
) -> None:
    assert set(cluster.members().values()) == {len(NODES)}
    batch_id = under_way(trio)
    leader = cluster.leader(BULK)
    cluster.kill(leader)
    goes_on(trio, batch_id)

    second = next(node for node in NODES if node != leader)
    cluster.kill(second)
    new = plain_numbers(RECIPIENTS + 100)[RECIPIENTS:]
    for number in range(3):
        refused = post(trio.api, new, Idempotency_Key=f"without-majority-{number}")
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0

    cluster.start(leader, second)
    accepted = eventually(lambda: again(trio, new, "without-majority-0"), HEAL_TIMEOUT_S, 1)
    cluster.await_whole()  # the queues are asked over the first node, which may be the last to come up
    fault.conserved(trio, [batch_id, accepted], timeout_s=HEAL_TIMEOUT_S)


def again(trio: Trio, recipients: list[str], key: str) -> str | None:
    """The batch id once the same request is taken; 503 until then."""
    answer = post(trio.api, recipients, Idempotency_Key=key)
    assert answer.status_code in (202, 503)
    return str(answer.json()["batch_id"]) if answer.status_code == 202 else None


@pytest.mark.scenario(15, "cluster: two nodes killed at once, healed one by one")
def test_two_dead_nodes_are_enough_to_stop_it_and_one_back_is_enough_to_go_on(
    cluster: Cluster, trio: Trio, fault: FaultRun
) -> None:
    batch_id = under_way(trio)
    leader = cluster.leader(BULK)
    other = next(node for node in NODES if node != leader)
    cluster.kill(leader)
    cluster.kill(other)
    assert post(trio.api).status_code == 503
    cluster.start(other)
    goes_on(trio, batch_id)
    cluster.start(leader)
    cluster.await_whole()
    fault.conserved(trio, [batch_id], timeout_s=HEAL_TIMEOUT_S)


@pytest.mark.scenario(15, "cluster: every node restarted in turn")
def test_a_rolling_restart_under_load_loses_nothing(cluster: Cluster, trio: Trio, fault: FaultRun) -> None:
    batch_ids = [under_way(trio)]
    for node in NODES:
        cluster.restart(node)
        batch_ids.append(trio.post(plain_numbers(1000)))
    assert requests.get(f"{trio.api.url}/readyz", timeout=TIMEOUT_S).ok
    fault.conserved(trio, batch_ids, timeout_s=HEAL_TIMEOUT_S)
