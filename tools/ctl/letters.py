"""The queues as the broker has them: how many messages wait, and the dead letters, looked at or taken out."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pika
from pika.adapters.blocking_connection import BlockingChannel

from shared.amqp.link import UNREACHABLE, parameters
from tools.ctl.broker import unreachable

_LARGEST_PREFETCH = 65_535
_SILENCE_S = 5
_NOT_FOUND = 404


class _Held(NamedTuple):
    """A message that is ours until we settle it."""

    channel: BlockingChannel
    tag: int
    message_id: str | None


def depths(url: str, queues: Sequence[str]) -> dict[str, int | None]:
    """The ready messages in each queue, None for a queue that is not there; CtlError where there is no broker."""
    with _connected(url) as connection:
        return {queue: _depth(connection, queue) for queue in queues}


def look_at(url: str, queue: str, most: int, see: Callable[[str | None], None]) -> bool:
    """Show `see` the ids of a queue's first messages, which stay there; whether those were all.

    While they are looked at, nobody else gets them. CtlError where there is no broker.
    """
    are_all = True

    def none_of(held: Sequence[str | None]) -> set[int]:
        nonlocal are_all
        are_all = len(held) <= most
        for message_id in held[:most]:
            see(message_id)
        return set()

    with _connected(url) as connection:
        _settle(_taken(connection, queue, most + 1), none_of)
    return are_all


def take_out(url: str, queue: str, choose: Callable[[Sequence[str | None]], set[int]]) -> int:
    """Remove those of a queue's messages whose places in the list of ids `choose` names; how many.

    The others go back in their order (RabbitMQ 3.10 mixes them up after many looks). CtlError where there is no
    broker; nothing is lost then, at worst nothing is removed.
    """
    removed: Counter[str | None] = Counter()
    while True:
        with _connected(url) as connection:
            chosen = _settle(_taken(connection, queue, sys.maxsize), choose)
        if not chosen:
            return removed.total()
        # The broker drops acks that a quorum queue has not taken yet when their channel closes (seen on 4.3), and
        # nothing says so. Their messages are back on the queue: look until there is nothing left to remove.
        removed |= Counter(chosen)


@contextmanager
def _connected(url: str) -> Iterator[pika.BlockingConnection]:
    try:
        with pika.BlockingConnection(parameters(url, "smsctl letters")) as connection:
            yield connection
    except UNREACHABLE as error:
        raise unreachable(url, error) from None


def _depth(connection: pika.BlockingConnection, queue: str) -> int | None:
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != _NOT_FOUND:
            raise
        return None


def _settle(messages: Iterable[_Held], choose: Callable[[Sequence[str | None]], set[int]]) -> list[str | None]:
    """Remove what is chosen and put the others back; the ids of what was chosen."""
    held = list(messages)
    chosen = choose([message.message_id for message in held])
    for place, message in enumerate(held):
        if place in chosen:
            message.channel.basic_ack(message.tag)
        else:
            # One by one: the broker puts back what is nacked together, or lost with its channel, in any order.
            message.channel.basic_nack(message.tag, requeue=True)
    return [held[place].message_id for place in chosen]


def _taken(connection: pika.BlockingConnection, queue: str, most: int) -> Iterator[_Held]:
    """Take a queue's first messages, as many as there are, up to `most`."""
    ready = _depth(connection, queue)
    if ready is None:
        return
    taken = 0
    for message in _consumed(connection, queue, min(ready, most)):
        yield message
        taken += 1
    # The count that the broker gives lags behind the queue, which alone knows when it is empty.
    channel = connection.channel()
    while taken < most:
        method, properties, _body = channel.basic_get(queue)
        if method is None:
            return
        yield _Held(channel, method.delivery_tag, properties.message_id)
        taken += 1


def _consumed(connection: pika.BlockingConnection, queue: str, count: int) -> Iterator[_Held]:
    """Consume so many messages, fewer where somebody else takes some; a channel for as many as a prefetch can be."""
    while count > 0:
        share = min(count, _LARGEST_PREFETCH)
        channel = connection.channel()
        channel.basic_qos(prefetch_count=share)
        taken = 0
        for method, properties, _body in channel.consume(queue, inactivity_timeout=_SILENCE_S):
            if method is None:
                break
            yield _Held(channel, method.delivery_tag, properties.message_id)
            taken += 1
            if taken == share:
                break
        channel.cancel()
        count = count - taken if taken == share else 0
