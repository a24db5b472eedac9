"""The one declarer of the topology, and the one reader of how a broker's differs from it."""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pika
import structlog
from pika.channel import Channel

from shared.amqp.link import UNREACHABLE, close_connection, open_channel, open_connection, resolve
from shared.amqp.nodes import Nodes, place, split_urls
from shared.amqp.reconnecting import describe
from shared.errors import TopologyMismatch
from shared.topology import Topology

DELETION_TAKES_S = 0.5
"""How long to leave a missed queue missing. RabbitMQ tells a deleted queue's consumers some 30 ms later; declared again
before that, 3.10 tells them nothing, and delivers to a consumer that never hears of it."""

_TIMEOUT_S = 30.0

_INEQUIVALENT = re.compile(r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>\w+) '(?P<name>[^']+)'")
_VALUE = r"(?:none|(?:the value )?'(?P<{}>[^']*)'(?: of type '\w+')?)"
_RECEIVED = re.compile(f"received {_VALUE.format('ours')} but current is {_VALUE.format('theirs')}")

log = structlog.get_logger()


async def declare(urls: str, topology: Topology, timeout_s: float = _TIMEOUT_S) -> None:
    """Make every exchange, queue and binding exist, over any node; some 30 round trips.

    TopologyMismatch names the argument that the broker has otherwise, what it is and what it should be. One of
    `UNREACHABLE` where the broker cannot be reached, or has not answered everything in time: a node that
    was killed while it started may take connections and heartbeats, and answer no declaration.
    """
    connection, closed = await open_connection(Nodes(urls), "sms declare")
    try:
        async with asyncio.timeout(timeout_s):
            await _declare_each(await open_channel(connection, closed), closed, topology)
    except TimeoutError:
        raise TimeoutError(f"the broker has not answered every declaration within {timeout_s:g} s") from None
    finally:
        await close_connection(connection)


async def declare_when_reachable(urls: str, topology: Topology, pause_s: float = 1.0) -> None:
    """Declare, waiting for the broker as long as it takes; TopologyMismatch as `declare` raises it."""
    nodes = ", ".join(map(place, split_urls(urls)))
    while True:
        try:
            return await declare(urls, topology)
        except UNREACHABLE as error:
            log.warning("waiting_for_broker", node=nodes, reason=describe(error))
            await asyncio.sleep(pause_s)


def mismatch(reply_text: str) -> str:
    """RabbitMQ's PRECONDITION_FAILED text as a sentence about the argument, its value there and the value wanted."""
    what, values = _INEQUIVALENT.search(reply_text), _RECEIVED.search(reply_text)
    if what is None or values is None:
        return reply_text
    ours, theirs = (value if value is not None else "not set" for value in values.group("ours", "theirs"))
    return f"{what['kind']} {what['name']} on the broker has {what['argument']} = {theirs}, it should be {ours}"


async def _declare_each(channel: Channel, closed: asyncio.Future[BaseException], topology: Topology) -> None:
    for exchange in topology.exchanges:
        await _done(partial(channel.exchange_declare, exchange.name, "direct", durable=True), closed)
    for queue in topology.queues:
        arguments = dict(queue.arguments)
        await _done(partial(channel.queue_declare, queue.name, durable=True, arguments=arguments), closed)
    for binding in topology.bindings:
        await _done(partial(channel.queue_bind, binding.queue, binding.exchange, binding.key), closed)


async def _done(declare_one: Callable[..., object], closed: asyncio.Future[BaseException]) -> None:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    declare_one(callback=partial(resolve, answer))
    await asyncio.wait([answer, closed], return_when=asyncio.FIRST_COMPLETED)
    if answer.done():
        return
    reason = closed.result()
    if isinstance(reason, pika.exceptions.ChannelClosedByBroker) and reason.reply_code == 406:
        raise TopologyMismatch(mismatch(reason.reply_text))
    raise reason
