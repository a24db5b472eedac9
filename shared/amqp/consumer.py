"""Consuming with manual acks: deliveries go to a callback, settlement stays with whoever took them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import pika
import structlog
from pika.channel import Channel

from shared.amqp.acking import Acks
from shared.amqp.link import UNREACHABLE, Link, resolve
from shared.amqp.messages import Delivery
from shared.amqp.pika_internals import leave_deliveries, take_deliveries
from shared.amqp.receiving import Arrived

_NO_HEADERS: dict[str, Any] = {}

log = structlog.get_logger()


class Consumer:
    """Consumes some queues on one channel, from each at most so many unsettled deliveries.

    `prepare` runs on every new connection before consuming begins (it declares the topology, so that a broker that
    lost its queues has them again). `lost` hears that the deliveries not yet settled will come again.
    """

    def __init__(
        self,
        link_to: tuple[str, str],
        queues: Mapping[str, int],
        deliver: Callable[[Delivery], None],
        prepare: Callable[[], Awaitable[None]],
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        urls, name = link_to
        self._link = Link(urls, name, self._up, self._down)
        self._queues, self._deliver, self._prepare, self._lost = queues, deliver, prepare, lost
        self._channel: Channel | None = None
        self._acks: Acks | None = None
        self._stopped = False

    async def run(self) -> None:
        """Consume, and again after every loss of the connection or of a queue; ends after `close`."""
        await self._link.run()

    @property
    def is_ready(self) -> bool:
        """Connected and consuming."""
        return self._link.is_up and not self._stopped

    async def stop(self) -> None:
        """Take no more deliveries; those taken can still be settled."""
        self._stopped = True
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        leave_deliveries(channel)
        answers = [self._link.answer() for _ in channel.consumer_tags]
        for tag, answer in zip(channel.consumer_tags, answers, strict=True):
            channel.basic_cancel(tag, callback=partial(resolve, answer))
        await asyncio.gather(*answers, return_exceptions=True)

    def give_back(self) -> None:
        """Have the broker hand what is unsettled to others; consuming goes on when `prepare` returns the next time."""
        self._link.give_up("its deliveries were given back")

    async def close(self) -> None:
        """Close the connection; the broker hands what is unsettled to others."""
        if self._acks is not None:
            self._acks.flush()
        await self._link.close()

    async def depth(self, queue: str) -> int | None:
        """How many messages wait in the queue; None while the connection is down."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return None
        answer = self._link.answer()
        channel.queue_declare(queue, passive=True, callback=partial(resolve, answer))
        try:
            return int((await answer).method.message_count)
        except UNREACHABLE:
            return None

    async def _up(self, channel: Channel) -> None:
        await self._prepare()
        self._channel = channel
        channel.add_on_cancel_callback(self._queue_is_gone)
        acks = self._acks = Acks(channel)
        if not self._stopped:
            for queue, prefetch in self._queues.items():
                # Of the consumers that begin after it.
                channel.basic_qos(prefetch_count=prefetch)
                tag = channel.basic_consume(queue, partial(self._on_message, queue, acks))
                take_deliveries(channel, tag, partial(self._on_arrived, queue, acks))

    def _down(self) -> None:
        self._channel = self._acks = None
        self._lost()

    def _queue_is_gone(self, frame: Any) -> None:
        log.warning("consumer_cancelled_by_broker", consumer_tag=frame.method.consumer_tag)
        if self._channel is not None and self._channel.is_open:
            self._channel.connection.close()

    def _on_arrived(self, queue: str, acks: Acks, arrived: Arrived) -> None:
        ack = partial(acks.ack, arrived.delivery_tag)
        self._deliver(
            Delivery(arrived.body, arrived.type, arrived.message_id, queue, ack, _NO_HEADERS, arrived.is_redelivered)
        )

    def _on_message(
        self, queue: str, acks: Acks, _channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._deliver(delivery_of(queue, partial(acks.ack, method.delivery_tag), (method, properties, body)))


def delivery_of(queue: str, ack: Callable[[], None], message: tuple[Any, pika.BasicProperties, bytes]) -> Delivery:
    """A message as pika hands it out: its method, properties and body."""
    method, properties, body = message
    type_, message_id = _text(properties.type), _text(properties.message_id)
    return Delivery(body, type_, message_id, queue, ack, properties.headers or {}, bool(method.redelivered))


def _text(value: Any) -> str | None:
    # pika hands out bytes where a property is not UTF-8.
    return value if isinstance(value, str) else None
