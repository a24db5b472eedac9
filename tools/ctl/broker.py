"""The topology on the broker: declared, or compared without changing anything."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import pika
from pika.adapters.blocking_connection import BlockingChannel

from shared.amqp import nodes
from shared.amqp.declare import declare, mismatch
from shared.amqp.link import UNREACHABLE, parameters
from shared.amqp.nodes import split_urls
from shared.amqp.reconnecting import describe
from shared.topology import Topology
from tools.ctl.errors import CtlError

_ACCESS_REFUSED, _NOT_FOUND, _PRECONDITION_FAILED = 403, 404, 406

_Declare = Callable[[BlockingChannel, bool], object]


class Difference(NamedTuple):
    """One way in which the broker is not as it should be; `code` is AMQP's."""

    name: str
    sentence: str
    code: int

    @property
    def is_missing(self) -> bool:
        """It is not there."""
        return self.code == _NOT_FOUND

    @property
    def is_otherwise(self) -> bool:
        """It is there with other arguments."""
        return self.code == _PRECONDITION_FAILED

    @property
    def is_refused(self) -> bool:
        """The user may not see it, or not declare it."""
        return self.code == _ACCESS_REFUSED


def declare_all(urls: str, topology: Topology) -> None:
    """Make everything exist; TopologyMismatch where something is there with other arguments."""
    try:
        asyncio.run(declare(urls, topology))
    except UNREACHABLE as error:
        raise unreachable(urls, error) from None


def differences(urls: str, topology: Topology) -> list[str]:
    """What the broker lacks or has otherwise, a sentence each; bindings cannot be read over AMQP and are left out."""
    return [difference.sentence for difference in compare(urls, topology)]


def compare(urls: str, topology: Topology) -> list[Difference]:
    """The same with the names of what differs, as they are in the topology."""
    try:
        with pika.BlockingConnection(parameters(urls, "smsctl topology")) as connection:
            return list(_differences(connection, topology))
    except UNREACHABLE as error:
        raise unreachable(urls, error) from None


def _differences(connection: pika.BlockingConnection, topology: Topology) -> Iterator[Difference]:
    for exchange in topology.exchanges:
        yield from _compared(connection, "exchange", exchange.name, partial(_exchange, exchange.name))
    for queue in topology.queues:
        yield from _compared(connection, "queue", queue.name, partial(_queue, queue.name, dict(queue.arguments)))


def _compared(connection: pika.BlockingConnection, kind: str, name: str, declare_one: _Declare) -> Iterator[Difference]:
    # An active declaration is what makes the broker compare, and would create what is missing: existence comes first.
    for passive in (True, False):
        try:
            with connection.channel() as channel:
                declare_one(channel, passive)
        except pika.exceptions.ChannelClosedByBroker as error:
            yield Difference(name, _sentence(f"{kind} {name}", error), error.reply_code)
            return


def _exchange(name: str, channel: BlockingChannel, passive: bool) -> None:  # noqa: FBT001 - pika's own parameter
    channel.exchange_declare(name, "direct", passive=passive, durable=True)


def _queue(name: str, arguments: dict[str, str | int], channel: BlockingChannel, passive: bool) -> None:  # noqa: FBT001
    channel.queue_declare(name, passive=passive, durable=True, arguments=arguments)


def _sentence(name: str, error: pika.exceptions.ChannelClosedByBroker) -> str:
    if error.reply_code == _NOT_FOUND:
        return f"{name} is missing"
    return mismatch(error.reply_text) if error.reply_code == _PRECONDITION_FAILED else f"{name}: {error.reply_text}"


def unreachable(urls: str, error: Exception) -> CtlError:
    """The line for a broker that cannot be reached, without the password."""
    where = ", ".join(place(url) for url in split_urls(urls))
    return CtlError(f"cannot reach the broker at {where}: {_reason(error)} (SMS_AMQP_URL)")


def place(url: str) -> str:
    """A node's address, without user and password."""
    return f"{nodes.place(url)}{urlsplit(url).path}"


def _reason(error: Exception) -> str:
    # What pika raises after the last of a host's addresses has no text, only the errors of each.
    return str(error) or ", ".join(map(repr, error.args)) or describe(error)
