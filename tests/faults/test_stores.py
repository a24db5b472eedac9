"""Redis gone, emptied or slow, and a database that stops under load."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import requests

from tests.conftest import Start
from tests.faults.conftest import FaultRun
from tests.faults.test_kills import ends_as, plain_numbers
from tests.faults.test_provider import RATE, most_ahead
from tests.support import private_postgres, private_redis
from tests.support.api import post
from tests.support.brokers import Vhost
from tests.support.machine import NotHere, missing
from tests.support.processes import ServiceProcess, eventually
from tests.support.proxy import Direction, Proxy, proxy
from tests.support.trio import Trio

ROUNDS = 12
RECIPIENTS = 25
SLOW_S = 1.0


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet."""
    own = {"SMS_PROVIDER_TIMEOUT_S": "10", "SMS_AMQP_URL": each_vhost.amqp_url}
    return Trio(each_vhost, simulator, {**settings, **own}, start)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[private_redis.PrivateRedis]:
    try:
        with private_redis.PrivateRedis(tmp_path / "redis") as server:
            yield server
    except NotHere as reason:
        missing(str(reason))


@pytest.fixture
def slow_way(own_redis: private_redis.PrivateRedis) -> Iterator[Proxy]:
    """A proxy before Redis."""
    parts = urlsplit(own_redis.url)
    with proxy(str(parts.hostname), int(parts.port or 0)) as through:
        yield through


def harm(kind: str, server: private_redis.PrivateRedis, way: Proxy) -> None:
    """Do it to Redis; starting it and healing the way end it."""
    if kind == "gone":
        server.kill()
    elif kind == "slow":
        way.delay(SLOW_S, Direction.TO_CLIENT)
    else:
        with redis.Redis.from_url(server.url) as client:
            client.flushall()


@pytest.mark.parametrize("kind", [pytest.param("gone", marks=pytest.mark.quick), "emptied", "slow"])
@pytest.mark.scenario(26, "Redis gone, emptied, slow")
def test_without_a_good_redis_nothing_is_lost_nothing_sent_twice_and_the_rate_kept(
    trio: Trio, own_redis: private_redis.PrivateRedis, slow_way: Proxy, fault: FaultRun, kind: str
) -> None:
    url = urlsplit(own_redis.url)
    through = url._replace(netloc=f"{url.netloc.rpartition(':')[0]}:{slow_way.port}")
    trio.settings |= {"SMS_REDIS_URL": through.geturl(), "SMS_PROVIDER_RATE": str(RATE)}
    trio.up()
    began_at_s = time.time()
    ids: dict[str, str] = {}
    for turn in range(ROUNDS):
        if turn == ROUNDS // 3:
            harm(kind, own_redis, slow_way)
            trio.api.kill()  # what it remembered itself is gone too
            trio.api.start()
        elif turn == 2 * ROUNDS // 3:
            own_redis.start()
            slow_way.heal()
        key = f"round {turn}"
        recipients = plain_numbers(RECIPIENTS * (turn + 1))[-RECIPIENTS:]
        ids[key] = accepted(trio, recipients, key)
        for earlier in (key, "round 0"):
            again = recipients if earlier == key else plain_numbers(RECIPIENTS)
            assert accepted(trio, again, earlier) == ids[earlier]
    assert len(set(ids.values())) == ROUNDS
    fault.conserved(trio, list(ids.values()))
    for batch_id in ids.values():
        assert ends_as(trio, batch_id) == {"sent": RECIPIENTS}
        assert set(trio.provider_calls(batch_id).values()) == {1}
    assert most_ahead(trio, began_at_s) <= 2


def accepted(trio: Trio, recipients: list[str], key: str) -> str:
    """The batch id of a request with a key; Redis or not, it is taken at once."""
    answer = post(trio.api, recipients, Idempotency_Key=key)
    assert answer.status_code == 202, answer.text
    batch_id = str(answer.json()["batch_id"])
    trio.posted[batch_id] = len(recipients)
    return batch_id


@pytest.mark.parametrize(
    ("gone_s", "numbers"),
    [pytest.param(6, 3000, marks=pytest.mark.quick(only_matrix=True)), pytest.param(60, 15_000, id="a_minute")],
)
@pytest.mark.scenario(27, "the database gone under load")
def test_while_the_database_is_gone_the_api_accepts_and_senders_take_nothing(
    trio: Trio, own_postgres: private_postgres.PrivatePostgres, fault: FaultRun, gone_s: float, numbers: int
) -> None:
    trio.settings["SMS_DATABASE_URL"] = own_postgres.url
    trio.up()
    trio.misbehave("slow", delay_s=0.05)
    first = trio.post(plain_numbers(numbers))
    eventually(lambda: trio.batch(first)["counts"].get("sent", 0) > 300)
    own_postgres.kill()
    gone_at_s = time.monotonic()
    meanwhile = [trio.post(plain_numbers(50)) for _ in range(5)]
    eventually(lambda: calls_stand_still(trio))
    called = total_calls(trio)
    while time.monotonic() < gone_at_s + gone_s:
        meanwhile.append(trio.post(plain_numbers(50), lane="priority"))
        time.sleep(0.5)
    assert total_calls(trio) == called
    assert requests.get(f"{trio.api.url}/v1/batches/{first}/messages", timeout=30).status_code == 503
    own_postgres.start()
    eventually(lambda: requests.get(f"{trio.api.url}/v1/batches/{first}", timeout=30).ok)
    found = fault.conserved(trio, [first, *meanwhile])
    assert found.unknown == 0
    assert set(trio.provider_calls(first).values()) == {1}
    assert '"level":"critical"' not in trio.logs()


def total_calls(trio: Trio) -> int:
    """How often the provider was called at all."""
    return int(requests.get(f"{trio.simulator.url}/calls/summary", timeout=30).json()["calls"])


def calls_stand_still(trio: Trio) -> bool:
    """Whether none was added for two seconds: what was claimed before is called, and nothing more."""
    before = total_calls(trio)
    time.sleep(2)
    return total_calls(trio) == before
