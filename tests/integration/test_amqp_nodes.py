"""Several URLs: a node that is dead or mute is passed over, by publisher, consumer, api and smsctl."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from shared.amqp.consumer import Consumer
from shared.amqp.declare import declare
from shared.amqp.link import UNREACHABLE
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.domain.outgoing import Outgoing
from shared.errors import Unconfirmed
from shared.topology import OUTBOUND, build_topology, outbound_queue
from tests.conftest import Start
from tests.support.api import post
from tests.support.brokers import Vhost
from tests.support.processes import eventually
from tests.support.proxy import Direction, proxy
from tools.ctl.__main__ import main

BULK = outbound_queue("bulk")
DEAD = "amqp://guest:made-up@127.0.0.1:1/"


async def nothing() -> None:
    """No preparation."""


def outgoing(number: int = 0) -> Outgoing:
    return Outgoing(OUTBOUND, "bulk", b"{}", "sms.outbound.v1", f"batch:{number}", "batch", 1_700_000_000)


@pytest.fixture
def mute() -> Iterator[str]:
    """A node that takes connections and says nothing, as a frozen one does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"amqp://guest:made-up@127.0.0.1:{server.getsockname()[1]}/"


@pytest.fixture
def urls(vhost: Vhost, mute: str) -> str:
    """Two nodes that are of no use, and one that is."""
    return ", ".join((DEAD, vhost.amqp_url, mute))


async def test_a_publisher_passes_over_dead_and_mute_nodes(urls: str) -> None:
    await declare(urls, build_topology((1,)))
    for _ in range(3):  # each has an order of its own
        publisher = Publisher(urls, "test publishes", "test", nothing)
        running = asyncio.create_task(publisher.run())
        assert await publisher.publish_all([outgoing()], 30) == {}
        await publisher.close()
        await running


async def test_a_consumer_passes_over_dead_and_mute_nodes(urls: str, vhost: Vhost) -> None:
    await declare(vhost.amqp_url, build_topology((1,)))
    vhost.broker.api(
        "POST",
        f"exchanges/{vhost.name}/{OUTBOUND}/publish",
        json={"properties": {}, "routing_key": "bulk", "payload": "{}", "payload_encoding": "string"},
    )
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    consumer = Consumer((urls, "test consumes"), {BULK: 1}, arrived.put_nowait, nothing)
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(30):
        (await arrived.get()).ack()
    await consumer.close()
    await running


def test_the_api_passes_over_dead_and_mute_nodes(start: Start, urls: str, sqlite_url: str) -> None:
    api = start("services.api", SMS_AMQP_URL=urls, SMS_DATABASE_URL=sqlite_url)
    eventually(lambda: post(api).ok)


async def test_a_connection_that_confirms_nothing_is_given_up_for_another_node(vhost: Vhost) -> None:
    await declare(vhost.amqp_url, build_topology((1,)))
    broker = vhost.broker
    with proxy(broker.host, broker.amqp_port) as first, proxy(broker.host, broker.amqp_port) as second:
        urls = ",".join(
            f"amqp://{vhost.user}:{vhost.password}@127.0.0.1:{p.port}/{vhost.name}" for p in (first, second)
        )
        second.refuse()
        publisher = Publisher(urls, "test publishes", "test", nothing)
        running = asyncio.create_task(publisher.run())
        assert await publisher.publish_all([outgoing()], 30) == {}
        first.swallow(Direction.TO_CLIENT)
        second.heal()
        failed = await publisher.publish_all([outgoing(1)], 1)
        assert {position: type(error) for position, error in failed.items()} == {0: Unconfirmed}
        async with asyncio.timeout(12):  # heartbeats would need twice as long to find it out
            while await publisher.publish_all([outgoing(1)], 12):
                await asyncio.sleep(0.1)
        await publisher.close()
        await running


def test_smsctl_names_every_node_that_it_cannot_reach_and_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMS_AMQP_URL", f"{DEAD},amqp://guest:made-up@127.0.0.1:2/other")
    with pytest.raises(SystemExit):
        main(["topology", "--check"])
    said = capsys.readouterr().err
    assert said.startswith("smsctl: cannot reach the broker at 127.0.0.1:1/, 127.0.0.1:2/other: ")
    assert "made-up" not in said
    assert said.count("\n") == 1


def test_smsctl_declares_over_the_node_that_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], urls: str
) -> None:
    monkeypatch.setenv("SMS_AMQP_URL", urls)
    with pytest.raises(SystemExit) as ended:
        main(["topology"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("the broker has all of it: ")


async def test_a_broker_that_takes_the_connection_and_says_nothing_is_unreachable_and_no_crash(mute: str) -> None:
    with pytest.raises(UNREACHABLE):
        await declare(mute, build_topology([5]))


async def test_a_broker_that_answers_no_declaration_is_unreachable(vhost: Vhost) -> None:
    with proxy(vhost.broker.host, vhost.broker.amqp_port) as slow:
        slow.delay(0.2, Direction.TO_CLIENT)  # each answer by itself comes in time
        url = f"amqp://{vhost.user}:{vhost.password}@127.0.0.1:{slow.port}/{vhost.name}"
        with pytest.raises(TimeoutError, match="not answered every declaration within 1 s"):
            await declare(url, build_topology([5]), timeout_s=1)
