"""Going through a queue once, a chunk at a time: what is not acked is put back, in its order (RabbitMQ 3.10 mixes it
up after many looks)."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import pika
from pika.channel import Channel

from shared.amqp.consumer import delivery_of
from shared.amqp.link import UNREACHABLE, close_connection, open_channel, open_connection, resolve
from shared.amqp.messages import Delivery
from shared.amqp.nodes import Nodes
from shared.amqp.reconnecting import describe
from shared.errors import BrokerUnreachable, QueueMissing

_SILENCE_S = 0.5
_ANSWER_TIMEOUT_S = 30
_ACKS_TAKE_S = 0.3
"""RabbitMQ 4.3 drops acks that a quorum queue has not taken yet when their channel closes."""
_NOT_FOUND = 404

Answer = TypeVar("Answer")


class QueueBrowser:
    """One pass over a queue, from its oldest message on. While it lasts, nobody else gets what it holds.

    Memory does not grow with the queue, but for eight bytes for each message that stays.
    """

    def __init__(self, channel: Channel, closed: asyncio.Future[BaseException], queue: str) -> None:
        self._channel, self._closed, self._queue = channel, closed, queue
        self._unsettled: dict[int, None] = {}
        self._left = array("Q")
        self._arrived: asyncio.Queue[Delivery | None] = asyncio.Queue()
        channel.add_callback(lambda _frame: self._arrived.put_nowait(None), [pika.spec.Basic.GetEmpty], one_shot=False)

    async def ready(self) -> int:
        """How many messages wait; the figure may lag behind the queue."""
        answer = await self._answered(partial(self._channel.queue_declare, self._queue, passive=True))
        return int(answer.method.message_count)

    async def chunks(self, size: int) -> AsyncIterator[list[Delivery]]:
        """Up to `size` messages at a time, until the queue has no more. An `ack` counts until the next chunk."""
        self._channel.basic_qos(prefetch_count=max(1, size - 1))
        # Only a get tells for certain that a queue is empty; consuming is what is fast.
        while (first := await self._get()) is not None:
            yield [first, *(await self._consumed(size - 1))]
            self._left.extend(self._unsettled)
            self._unsettled.clear()

    async def put_back(self) -> None:
        """Give back what was not acked, and let the acks arrive."""
        for tag in (*self._left, *self._unsettled):
            # One by one: what is nacked together comes back in any order.
            self._channel.basic_nack(tag, requeue=True)
        await asyncio.sleep(_ACKS_TAKE_S)

    async def _get(self) -> Delivery | None:
        self._channel.basic_get(self._queue, self._on_message)
        return await self._or_lost(self._arrived.get())

    async def _consumed(self, most: int) -> list[Delivery]:
        """What is there without waiting, up to `most`."""
        if most < 1:
            return []
        tag = self._channel.basic_consume(self._queue, self._on_message)
        taken: list[Delivery] = []
        while len(taken) < most:
            delivery = self._arrived.get_nowait() if self._arrived.qsize() else await self._or_lost(self._soon())
            if delivery is None:
                break
            taken.append(delivery)
        await self._answered(partial(self._channel.basic_cancel, tag))
        while not self._arrived.empty() and (late := self._arrived.get_nowait()) is not None:
            taken.append(late)
        return taken

    async def _soon(self) -> Delivery | None:
        try:
            async with asyncio.timeout(_SILENCE_S):
                return await self._arrived.get()
        except TimeoutError:
            return None

    def _on_message(self, channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        tag = method.delivery_tag
        self._unsettled[tag] = None
        ack = partial(self._ack, channel, tag)
        self._arrived.put_nowait(delivery_of(self._queue, ack, (method, properties, body)))

    def _ack(self, channel: Channel, tag: int) -> None:
        if channel.is_open:
            del self._unsettled[tag]
            channel.basic_ack(tag)

    async def _answered(self, ask: partial[Any]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        ask(callback=partial(resolve, answer))
        return await self._or_lost(answer)

    async def _or_lost(self, answer: Awaitable[Answer]) -> Answer:
        """The broker's answer; the reason where the connection goes, or nothing comes."""
        waiting: asyncio.Future[Any] = asyncio.ensure_future(answer)
        try:
            await asyncio.wait([waiting, self._closed], timeout=_ANSWER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                result: Answer = waiting.result()
                return result
        finally:
            waiting.cancel()
        if self._closed.done():
            raise self._closed.result()
        raise TimeoutError(f"no answer from the broker within {_ANSWER_TIMEOUT_S} s")


@asynccontextmanager
async def browsing(urls: str, queue: str, name: str) -> AsyncIterator[QueueBrowser]:
    """One pass through a queue; at its end everything that was not acked is back, whatever ended it.

    QueueMissing where there is no such queue, BrokerUnreachable where the broker goes: nothing is lost then either.
    """
    try:
        connection, closed = await open_connection(Nodes(urls), name)
        try:
            browser = QueueBrowser(await open_channel(connection, closed), closed, queue)
            try:
                yield browser
            finally:
                if connection.is_open:
                    await browser.put_back()
        finally:
            await close_connection(connection)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code == _NOT_FOUND:
            raise QueueMissing(f"there is no queue {queue}") from None
        raise BrokerUnreachable(describe(error)) from None
    except UNREACHABLE as error:
        raise BrokerUnreachable(describe(error)) from None
