"""Redis: running batches' statuses, which dispatchers write and the api reads, and why nothing there is believed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import redis

from shared.cache import Cache
from shared.clock import now_ms
from shared.ids import new_batch_id
from shared.ledger.reading import BatchView
from shared.settings import Settings
from shared.statuses import Statuses
from shared.topology import BATCHES
from tests.conftest import Start
from tests.support.api import get, post
from tests.support.brokers import Vhost
from tests.support.private_redis import PrivateRedis
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for

LONG_MS = 60_000


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[PrivateRedis]:
    with PrivateRedis(tmp_path / "redis") as server:
        yield server


def secret(settings: dict[str, str]) -> bytes:
    return Settings(amqp_url=settings["SMS_AMQP_URL"], database_url=settings["SMS_DATABASE_URL"]).cache_secret


def kept_of(settings: dict[str, str], batch_id: str) -> tuple[str, int] | None:
    """A batch's status and how many were sent, as Redis has them."""

    async def look() -> tuple[BatchView, int] | None:
        cache = Cache(settings["SMS_REDIS_URL"], secret(settings))
        try:
            return await Statuses(cache).get(batch_id)
        finally:
            await cache.close()

    found = asyncio.run(look())
    return None if found is None else (found[0].status, found[0].counts.get("sent", 0))


def a_view(**fields: object) -> BatchView:
    values: dict[str, object] = {
        "batch_id": new_batch_id(1), "fingerprint": "f", "status": "running", "tags": ["spring"], "template_id": None,
        "recipients": 3, "counts": {"sent": 3}, "accepted_at_ms": 1, "send_at_ms": None, "expires_at_ms": None,
        "finished_at_ms": None, "error_code": None, "error_reason": None,
    }  # fmt: skip
    return BatchView.model_validate({**values, **fields})


async def test_a_status_that_another_version_wrote_is_not_taken_for_the_whole(redis_url: str) -> None:
    cache, view = Cache(redis_url, b"ours"), a_view()
    kept = {name: value for name, value in dict(view).items() if name != "tags"}
    for batch, found in ((kept, None), ({**kept, "tags": ["spring"]}, view), ({**kept, "tags": [], "new": 1}, None)):
        as_of_ms = now_ms()
        await cache.put(f"sms:status:{view.batch_id}", orjson.dumps({"as_of_ms": as_of_ms, "batch": batch}), LONG_MS)
        assert await Statuses(cache).get(view.batch_id) == (None if found is None else (found, as_of_ms))
    await cache.close()


async def test_a_value_is_found_only_under_its_own_key_and_by_those_with_the_secret(redis_url: str) -> None:
    ours, theirs = Cache(redis_url, b"ours"), Cache(redis_url, b"theirs")
    await ours.put("k", b"value", LONG_MS)
    assert await ours.get("k") == b"value"
    assert await theirs.get("k") is None
    with redis.Redis.from_url(redis_url) as client:
        kept = client.get("k")
        assert isinstance(kept, bytes)
        for key, value in (("moved", kept), ("k", b"value"), ("short", b""), ("longer", kept + b"."), ("k", kept[:-1])):
            client.set(key, value)
            assert await ours.get(key) is None
    await ours.close()
    await theirs.close()


async def test_what_nobody_signed_gives_way_to_a_claim(redis_url: str) -> None:
    cache = Cache(redis_url, b"ours")
    with redis.Redis.from_url(redis_url) as client:
        client.set("k", b"nonsense")
    assert await cache.put_if_absent("k", b"mine", LONG_MS) is None
    assert await cache.put_if_absent("k", b"other", LONG_MS) == b"mine"
    await cache.close()


async def test_a_status_that_is_put_there_again_later_is_a_miss(redis_url: str) -> None:
    cache = Cache(redis_url, b"ours")
    for as_of_ms, found in ((now_ms(), True), (now_ms() - LONG_MS, False), (now_ms() + LONG_MS, False)):
        view = a_view()
        await Statuses(cache).put([view], as_of_ms, LONG_MS)
        assert (await Statuses(cache).get(view.batch_id) is not None) is found
    await cache.close()


async def test_after_a_command_nobody_sees_how_a_batch_stood_before_it(redis_url: str) -> None:
    cache, view = Cache(redis_url, b"ours"), a_view()
    statuses, commanded_at_ms = Statuses(cache), now_ms()
    await statuses.put_after_command(view, commanded_at_ms, LONG_MS)
    assert await statuses.get(view.batch_id) == (view.model_copy(update={"fingerprint": ""}), commanded_at_ms)
    await statuses.put([view], commanded_at_ms - 1, LONG_MS)  # by a dispatcher that looked a moment earlier
    assert await statuses.get(view.batch_id) is None
    await statuses.put([view], commanded_at_ms + 1, LONG_MS)
    assert await statuses.get(view.batch_id) is not None
    await cache.close()


async def test_the_api_reads_a_signed_status_without_the_ledger_and_takes_no_other(
    start: Start, vhost: Vhost, sqlite_url: str, redis_url: str
) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": sqlite_url, "SMS_REDIS_URL": redis_url}
    api = start("services.api", **settings)
    signed, forged = Cache(redis_url, secret(settings)), Cache(redis_url, b"a guess")
    # The ledger has neither: to it, both are batches that were perhaps accepted a moment ago.
    genuine, made_up = a_view(), a_view()
    await Statuses(signed).put([genuine], now_ms(), LONG_MS)
    await Statuses(forged).put([made_up], now_ms(), LONG_MS)
    found = get(api, f"/v1/batches/{genuine.batch_id}").json()
    assert (found["status"], found["counts"]) == ("running", {"sent": 3})
    assert found["as_of"]
    assert get(api, f"/v1/batches/{made_up.batch_id}").json()["counts"] == {}
    metrics = get(api, "/metrics").text
    assert 'sms_api_status_reads_total{source="redis"} 1.0' in metrics
    assert 'sms_api_status_reads_total{source="ledger"} 1.0' in metrics
    await signed.close()
    await forged.close()


def test_a_dispatcher_writes_how_a_running_batch_stands_and_how_it_ended(
    start: Start, vhost: Vhost, sqlite_url: str, redis_url: str, simulator: ServiceProcess
) -> None:
    settings = {**settings_for(vhost, sqlite_url, simulator), "SMS_REDIS_URL": redis_url}
    trio = Trio(vhost, simulator, settings, start).up(senders=0)
    # The api is not asked: it would write, too.
    batch_id = trio.post(["+8613800138000", "+8613900139000"])
    eventually(lambda: kept_of(settings, batch_id) == ("running", 0))
    start("services.sender", **settings)
    eventually(lambda: kept_of(settings, batch_id) == ("finished", 2))


@pytest.mark.parametrize("fault", ["killed", "frozen", "emptied"])
def test_a_batch_is_sent_and_told_of_whatever_happens_to_redis(
    start: Start, vhost: Vhost, sqlite_url: str, simulator: ServiceProcess, own_redis: PrivateRedis, fault: str
) -> None:
    settings = {**settings_for(vhost, sqlite_url, simulator), "SMS_REDIS_URL": own_redis.url}
    trio = Trio(vhost, simulator, settings, start).up(senders=0)
    batch_id = trio.post([f"+86138001380{n:02d}" for n in range(20)])
    eventually(lambda: trio.batch(batch_id)["status"] == "running")
    if fault == "killed":
        own_redis.kill()
    elif fault == "frozen":
        own_redis.freeze()
    else:
        with redis.Redis.from_url(own_redis.url) as client:
            client.flushall()
    start("services.sender", **settings)
    assert trio.finished(batch_id) == {"sent": 20}
    assert set(trio.provider_calls(batch_id).values()) == {1}


def test_an_acceptance_that_the_version_before_left_unsigned_leads_to_no_second_batch(
    start: Start, vhost: Vhost, sqlite_url: str, redis_url: str, simulator: ServiceProcess
) -> None:
    settings = {**settings_for(vhost, sqlite_url, simulator), "SMS_REDIS_URL": redis_url}
    first = start("services.api", **settings)
    batch_id = post(first, Idempotency_Key="k").json()["batch_id"]
    unsigned = {"fingerprint": "f", "recipients": 7, "accepted_at_ms": 1, "under_way": False}
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"sms:accepted:{batch_id}", orjson.dumps(unsigned))
    # Another process, for the first remembers by itself; the batch is not in the ledger: no dispatcher runs.
    trio = Trio(vhost, simulator, settings, start)
    trio.api = start("services.api", **settings)
    again = post(trio.api, Idempotency_Key="k")
    assert (again.status_code, again.json()["batch_id"]) == (202, batch_id)
    assert len(vhost.messages(BATCHES)) == 2
    start("services.dispatcher", **settings)
    start("services.sender", **settings)
    assert trio.finished(batch_id) == {"sent": 1}
    eventually(lambda: vhost.messages(BATCHES) == [])
    assert list(trio.provider_calls(batch_id).values()) == [1]
