"""Our AMQP layer on real brokers: confirms, returns, refusals, losses, and the topology."""

import asyncio
from collections.abc import AsyncIterator

import pika
import pytest

from shared.amqp.consumer import Consumer
from shared.amqp.declare import declare
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.amqp.settle import Settlement, settle
from shared.domain.outgoing import Outgoing
from shared.errors import PublishError, Rejected, TopologyMismatch, Unconfirmed, Unroutable
from shared.topology import OUTBOUND, RETRY, Binding, Queue, Topology, build_topology, retry_key, retry_queue
from tests.support.brokers import Vhost

pytestmark = pytest.mark.on_each

BULK, PRIORITY = "sms.outbound.bulk", "sms.outbound.priority"


def outgoing(key: str = "bulk", exchange: str = OUTBOUND, number: int = 0, **fields: object) -> Outgoing:
    return Outgoing(exchange, key, b'{"n": 1}', "sms.outbound.v1", f"batch:{number}", "batch", 1_700_000_000, **fields)  # type: ignore[arg-type]


@pytest.fixture
async def publisher(each_vhost: Vhost) -> AsyncIterator[Publisher]:
    await declare(each_vhost.amqp_url, build_topology((0.2, 1)))
    publisher = Publisher(each_vhost.amqp_url, "test publishes", "test", nothing)
    running = asyncio.create_task(publisher.run())
    yield publisher
    await publisher.close()
    await running


async def nothing() -> None:
    """No preparation."""


async def take(vhost: Vhost, queue: str, count: int, *, ack: bool = True) -> list[Delivery]:
    """Consume that many deliveries with our consumer."""
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    consumer = Consumer((vhost.amqp_url, "test consumes"), {queue: count}, arrived.put_nowait, nothing)
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(20):
        deliveries = [await arrived.get() for _ in range(count)]
    if ack:
        for delivery in deliveries:
            delivery.ack()
    await consumer.stop()
    await consumer.close()
    await running
    return deliveries


def depth(vhost: Vhost, queue: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


async def test_a_thousand_confirmed_messages_are_in_the_queue(publisher: Publisher, each_vhost: Vhost) -> None:
    messages = [outgoing(number=number) for number in range(1000)]
    assert await publisher.publish_all(messages, 20) == {}
    deliveries = await take(each_vhost, BULK, 1000)
    assert [delivery.message_id for delivery in deliveries] == [message.message_id for message in messages]
    assert await asyncio.to_thread(depth, each_vhost, BULK) == 0


async def test_an_unroutable_message_is_told_from_its_neighbours(publisher: Publisher) -> None:
    failed = await publisher.publish_all([outgoing(number=1), outgoing("nowhere", number=2), outgoing(number=3)], 20)
    assert {position: type(error) for position, error in failed.items()} == {1: Unroutable}


async def test_a_full_queue_refuses_and_says_so(publisher: Publisher, each_vhost: Vhost) -> None:
    full = Queue("full", {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"})
    topology = Topology((), (full,), (Binding(OUTBOUND, "full", "full"),))
    await declare(each_vhost.amqp_url, topology)
    failed: dict[int, PublishError] = {}
    async with asyncio.timeout(20):
        while not failed:  # the broker overshoots the limit by what comes in at once
            failed = await publisher.publish_all([outgoing("full", number=n) for n in range(20)], 20)
    assert {type(error) for error in failed.values()} == {Rejected}


async def test_a_publish_without_a_broker_fails_at_its_deadline() -> None:
    publisher = Publisher("amqp://x:y@127.0.0.1:1/", "test", "test", nothing)
    running = asyncio.create_task(publisher.run())
    failed = await publisher.publish_all([outgoing()], 0.3)
    assert {type(error) for error in failed.values()} == {Unconfirmed}
    assert not publisher.is_ready
    running.cancel()


async def test_a_lost_connection_leaves_messages_unconfirmed_and_comes_back(
    publisher: Publisher, each_vhost: Vhost
) -> None:
    assert await publisher.publish_all([outgoing()], 20) == {}
    await asyncio.to_thread(close_connections, each_vhost)
    async with asyncio.timeout(30):
        while await publisher.publish_all([outgoing(number=2)], 5):
            pass
    assert await asyncio.to_thread(depth, each_vhost, BULK) >= 2


def close_connections(vhost: Vhost) -> None:
    """Have the broker close every connection of the virtual host; the management API lists them with a delay."""
    for _ in range(100):
        names = [found["name"] for found in vhost.broker.api("GET", f"vhosts/{vhost.name}/connections")]
        if names:
            break
    for name in names:
        vhost.broker.api("DELETE", f"connections/{name}")


async def test_an_expired_retry_goes_to_the_queue_of_its_lane(publisher: Publisher, each_vhost: Vhost) -> None:
    waiting = [outgoing(retry_key(0.2, lane), RETRY, number) for number, lane in enumerate(["bulk", "priority"])]
    assert await publisher.publish_all(waiting, 20) == {}
    (bulk,) = await take(each_vhost, BULK, 1)
    (priority,) = await take(each_vhost, PRIORITY, 1)
    assert (bulk.message_id, priority.message_id) == ("batch:0", "batch:1")


async def test_an_unsettled_delivery_comes_again(publisher: Publisher, each_vhost: Vhost) -> None:
    await publisher.publish_all([outgoing()], 20)
    (first,) = await take(each_vhost, BULK, 1, ack=False)
    (second,) = await take(each_vhost, BULK, 1)
    assert first.message_id == second.message_id == "batch:0"


async def test_settling_acks_only_what_is_safe_elsewhere(publisher: Publisher, each_vhost: Vhost) -> None:
    await publisher.publish_all([outgoing(number=n) for n in range(2)], 20)
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    consumer = Consumer((each_vhost.amqp_url, "test consumes"), {BULK: 10}, arrived.put_nowait, nothing)
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(20):
        deliveries = [await arrived.get() for _ in range(2)]
    stuck = Settlement(deliveries[1], outgoing("nowhere", number=1))
    settling = asyncio.create_task(settle([Settlement(deliveries[0]), stuck], publisher))
    async with asyncio.timeout(20):
        await asyncio.sleep(1)
    assert not settling.done()
    settling.cancel()
    await consumer.close()
    await running
    (left,) = await take(each_vhost, BULK, 1)
    assert left.message_id == "batch:1"


async def test_a_deleted_queue_is_declared_and_consumed_again(each_vhost: Vhost) -> None:
    topology = build_topology((1,))
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    async def prepare() -> None:
        await declare(each_vhost.amqp_url, topology)

    consumer = Consumer((each_vhost.amqp_url, "test consumes"), {BULK: 10}, arrived.put_nowait, prepare)
    publisher = Publisher(each_vhost.amqp_url, "test publishes", "test", nothing)
    running = [asyncio.create_task(work) for work in (consumer.run(), publisher.run())]
    async with asyncio.timeout(30):
        while not consumer.is_ready:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(each_vhost.broker.api, "DELETE", f"queues/{each_vhost.name}/{BULK}")
        while await publisher.publish_all([outgoing()], 5):
            await asyncio.sleep(0.1)
        assert (await arrived.get()).message_id == "batch:0"
    await consumer.close()
    await publisher.close()
    await asyncio.gather(*running)


async def test_a_queue_that_a_publisher_misses_at_once_is_consumed_again(each_vhost: Vhost) -> None:
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    async def prepare() -> None:
        await declare(each_vhost.amqp_url, build_topology((1,)))

    consumer = Consumer((each_vhost.amqp_url, "test consumes"), {BULK: 10}, arrived.put_nowait, prepare)
    publisher = Publisher(each_vhost.amqp_url, "test publishes", "test", prepare)
    running = [asyncio.create_task(work) for work in (consumer.run(), publisher.run())]
    async with asyncio.timeout(30):
        while not (consumer.is_ready and publisher.is_ready):
            await asyncio.sleep(0.05)
        await asyncio.to_thread(each_vhost.broker.api, "DELETE", f"queues/{each_vhost.name}/{BULK}")
        assert await publisher.publish_all([outgoing()], 5)
        while await publisher.publish_all([outgoing()], 5):
            await asyncio.sleep(0.1)
        assert (await arrived.get()).message_id == "batch:0"
    await consumer.close()
    await publisher.close()
    await asyncio.gather(*running)


async def test_the_depth_of_a_queue_can_be_asked_for(publisher: Publisher, each_vhost: Vhost) -> None:
    await publisher.publish_all([outgoing(number=n) for n in range(7)], 20)
    consumer = Consumer((each_vhost.amqp_url, "test"), {PRIORITY: 1}, lambda _delivery: None, nothing)
    assert await consumer.depth(BULK) is None
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(20):
        while not consumer.is_ready:
            await asyncio.sleep(0.05)
        assert await consumer.depth(BULK) == 7
    await consumer.close()
    await running


async def test_a_queue_with_another_argument_is_named(each_vhost: Vhost) -> None:
    other = {**build_topology((5,)).queue(retry_queue(5)).arguments, "x-message-ttl": 6000}
    await declare(each_vhost.amqp_url, Topology((), (Queue(retry_queue(5), other),), ()))
    with pytest.raises(TopologyMismatch) as caught:
        await declare(each_vhost.amqp_url, build_topology((5,)))
    assert str(caught.value) == "queue sms.retry.5s on the broker has x-message-ttl = 6000, it should be 5000"


async def test_declaring_twice_changes_nothing(each_vhost: Vhost) -> None:
    for _ in range(2):
        await declare(each_vhost.amqp_url, build_topology((5, 30)))
    queues = each_vhost.broker.api("GET", f"queues/{each_vhost.name}")
    assert {queue["name"] for queue in queues} == {queue.name for queue in build_topology((5, 30)).queues}
