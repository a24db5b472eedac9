"""The queues as the broker has them: how many messages wait, and the dead letters, looked at or taken out."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import pika

from shared.amqp.link import UNREACHABLE, parameters
from shared.amqp.queue_browser import browsing
from shared.dead_letters.handling import chunk_size, survey
from shared.errors import BrokerUnreachable, QueueMissing
from tools.ctl.broker import unreachable

_NAME = "smsctl letters"
_NOT_FOUND = 404

Choose = Callable[[Sequence[str | None]], Awaitable[set[int]]]


def depths(url: str, queues: Sequence[str]) -> dict[str, int | None]:
    """The ready messages in each queue, None for a queue that is not there; CtlError where there is no broker."""
    with _reachable(url), pika.BlockingConnection(parameters(url, _NAME)) as connection:
        return {queue: _depth(connection, queue) for queue in queues}


def look_at(url: str, queue: str, most: int, see: Callable[[str | None], None]) -> bool:
    """Show `see` the ids of a queue's first messages, which stay there; whether those were all.

    While they are looked at, nobody else gets them. CtlError where there is no broker.
    """
    with _reachable(url):
        try:
            return asyncio.run(survey(url, queue, _NAME, lambda letter: see(letter.message_id or None), most))
        except QueueMissing:
            return True


def take_out(url: str, queue: str, choose: Choose) -> int:
    """Remove those of a queue's messages whose places in a list of ids `choose` names; how many.

    The others go back in their order (RabbitMQ 3.10 mixes them up after many looks). CtlError where there is no
    broker; nothing is lost then, at worst nothing is removed.
    """
    removed: Counter[str | None] = Counter()
    while True:
        with _reachable(url):
            try:
                chosen = asyncio.run(_take_out(url, queue, choose))
            except QueueMissing:
                return 0
        if not chosen:
            return removed.total()
        # Acks can be lost with their channel. Their messages are back on the queue: look until nothing is left.
        removed |= Counter(chosen)


async def _take_out(url: str, queue: str, choose: Choose) -> list[str | None]:
    """Remove what is chosen; the ids of it."""
    removed: list[str | None] = []
    async with browsing(url, queue, _NAME) as browser:
        async for chunk in browser.chunks(chunk_size(queue)):
            for place in await choose([delivery.message_id for delivery in chunk]):
                chunk[place].ack()
                removed.append(chunk[place].message_id)
    return removed


@contextmanager
def _reachable(url: str) -> Iterator[None]:
    try:
        yield
    except (*UNREACHABLE, BrokerUnreachable) as error:
        raise unreachable(url, error) from None


def _depth(connection: pika.BlockingConnection, queue: str) -> int | None:
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != _NOT_FOUND:
            raise
        return None
