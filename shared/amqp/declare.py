"""The one declarer of the topology, and the one reader of how a broker's differs from it."""

import asyncio
import re
from collections.abc import Callable
from functools import partial

import pika
import structlog

from shared.amqp.link import UNREACHABLE, describe, parameters
from shared.errors import TopologyMismatch
from shared.topology import Topology

DELETION_TAKES_S = 0.5
"""How long to leave a missed queue missing. RabbitMQ tells a deleted queue's consumers some 30 ms later; declared again
before that, 3.10 tells them nothing, and delivers to a consumer that never hears of it."""

_INEQUIVALENT = re.compile(r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>\w+) '(?P<name>[^']+)'")
_VALUE = r"(?:none|(?:the value )?'(?P<{}>[^']*)'(?: of type '\w+')?)"
_RECEIVED = re.compile(f"received {_VALUE.format('ours')} but current is {_VALUE.format('theirs')}")

log = structlog.get_logger()


def declare(urls: str, topology: Topology) -> None:
    """Make every exchange, queue and binding exist, over any node; blocking, some 30 round trips.

    TopologyMismatch names the argument that the broker has otherwise, what it is and what it should be. pika's errors
    where the broker cannot be reached.
    """
    with pika.BlockingConnection(parameters(urls, "sms declare")) as connection:
        channel = connection.channel()
        for exchange in topology.exchanges:
            _step(partial(channel.exchange_declare, exchange.name, "direct", durable=True))
        for queue in topology.queues:
            _step(partial(channel.queue_declare, queue.name, durable=True, arguments=dict(queue.arguments)))
        for binding in topology.bindings:
            channel.queue_bind(binding.queue, binding.exchange, binding.key)


async def declare_when_reachable(urls: str, topology: Topology, pause_s: float = 1.0) -> None:
    """Declare, waiting for the broker as long as it takes; TopologyMismatch as `declare` raises it."""
    while True:
        try:
            return await asyncio.to_thread(declare, urls, topology)
        except UNREACHABLE as error:
            log.warning("waiting_for_broker", reason=describe(error))
            await asyncio.sleep(pause_s)


def mismatch(reply_text: str) -> str:
    """RabbitMQ's PRECONDITION_FAILED text as a sentence about the argument, its value there and the value wanted."""
    what, values = _INEQUIVALENT.search(reply_text), _RECEIVED.search(reply_text)
    if what is None or values is None:
        return reply_text
    ours, theirs = (value if value is not None else "not set" for value in values.group("ours", "theirs"))
    return f"{what['kind']} {what['name']} on the broker has {what['argument']} = {theirs}, it should be {ours}"


def _step(declare_one: Callable[[], object]) -> None:
    try:
        declare_one()
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code == 406:
            raise TopologyMismatch(mismatch(error.reply_text)) from None
        raise
