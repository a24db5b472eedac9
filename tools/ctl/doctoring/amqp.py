"""The broker as AMQP shows it: its nodes, its counts, and what the user may do."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pika

from shared.amqp.link import UNREACHABLE, close_connection, open_connection, parameters
from shared.amqp.nodes import Nodes, split_urls
from shared.amqp.reconnecting import describe
from tools.ctl.broker import place, unreachable
from tools.ctl.doctoring.findings import NotChecked

_NAME = "smsctl doctor"
_BLOCKED_TIMEOUT_S = 3
_ACCESS_REFUSED, _NOT_FOUND = 403, 404


class NodeThere(NamedTuple):
    """One node of SMS_AMQP_URL: its version, or why it cannot be reached."""

    place: str
    version: str | None
    error: str | None = None


class Counts(NamedTuple):
    """A queue's ready messages and its consumers; of a quorum queue also who else holds messages of it."""

    ready: int
    consumers: int


def nodes(urls: str) -> list[NodeThere]:
    """Every node, asked at the same time."""

    async def each() -> list[NodeThere]:
        return list(await asyncio.gather(*(_node(url) for url in split_urls(urls))))

    return asyncio.run(each())


def queue_counts(urls: str, queues: Sequence[str]) -> dict[str, Counts]:
    """Those of these queues that are there."""
    with connected(urls) as connection:
        found = {queue: _counts(connection, queue) for queue in queues}
    return {queue: counts for queue, counts in found.items() if counts}


@contextmanager
def connected(urls: str) -> Iterator[pika.BlockingConnection]:
    """A connection that gives up when an alarm blocks it; CtlError where there is no broker."""
    where = parameters(urls, _NAME)
    for each in where:
        each.blocked_connection_timeout = _BLOCKED_TIMEOUT_S
    try:
        with pika.BlockingConnection(where) as connection:
            yield connection
    except UNREACHABLE as error:
        raise unreachable(urls, error) from None


async def _node(url: str) -> NodeThere:
    try:
        connection, _closed = await open_connection(Nodes(url), _NAME)
    except UNREACHABLE as error:
        return NodeThere(place(url), None, describe(error))
    version = (connection.server_properties or {}).get("version")
    await close_connection(connection)
    return NodeThere(place(url), str(version))


def _counts(connection: pika.BlockingConnection, queue: str) -> Counts | None:
    try:
        with connection.channel() as channel:
            method = channel.queue_declare(queue, passive=True).method
            return Counts(method.message_count, method.consumer_count)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code == _ACCESS_REFUSED:
            raise NotChecked(error.reply_text) from None
        if error.reply_code != _NOT_FOUND:
            raise
        return None
