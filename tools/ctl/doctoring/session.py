"""One connection for the whole of a queue's migration, and moving messages over it: publish, confirm, then ack."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pika
from pika.channel import Channel

from shared.amqp.declare import DELETION_TAKES_S, mismatch
from shared.amqp.link import UNREACHABLE, close_connection, open_channel, open_connection, resolve
from shared.amqp.nodes import Nodes
from shared.amqp.reconnecting import describe
from shared.crash_points import crash_at
from tools.ctl.doctoring.amqp import Counts
from tools.ctl.errors import CtlError

Place = tuple[str, str]
"""Where a message is published: exchange and routing key."""

_LOCK = "sms.doctor"
_ANSWER_TIMEOUT_S = 20
_POLL_S, _QUIET_S = 0.1, 1.0
_STANDSTILL_S = 30
_SETTLED_S = 1.5
"""RabbitMQ 3.10, killed within a second of a quorum queue's declaration, comes back without the queue."""
_RESOURCE_LOCKED, _PRECONDITION_FAILED = 405, 406
_THE_BROKERS_OWN = frozenset({"x-delivery-count", "x-acquired-count"})
"""Headers that the broker adds to a delivery; they are not the message's."""


@dataclass
class Session:
    """A channel, and a lock that keeps every other session away. The loss of either ends the session."""

    channel: Channel
    closed: asyncio.Future[BaseException]
    _next_tag: int = 1
    _unconfirmed: OrderedDict[int, Callable[[], None]] = field(default_factory=OrderedDict)

    async def call(self, method: Callable[..., object], *arguments: Any, **options: Any) -> Any:
        """The broker's answer to one of the channel's methods."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        method(*arguments, **options, callback=partial(resolve, answer))
        await asyncio.wait([answer, self.closed], timeout=_ANSWER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            self.check()
            raise TimeoutError(f"no answer within {_ANSWER_TIMEOUT_S} s")
        return answer.result()

    async def declare(self, queue: str, arguments: Mapping[str, str | int]) -> None:
        """Make a queue exist, and survive from then on."""
        await self.call(self.channel.queue_declare, queue, durable=True, arguments=dict(arguments))
        await asyncio.sleep(_SETTLED_S)

    async def delete(self, queue: str) -> None:
        """Delete a queue with all that is in it, and wait until another of its name may be declared."""
        await self.call(self.channel.queue_delete, queue)
        await asyncio.sleep(DELETION_TAKES_S)

    async def counts(self, queue: str) -> Counts:
        """What is in the queue, and how many have to do with it."""
        method = (await self.call(self.channel.queue_declare, queue, passive=True)).method
        return Counts(method.message_count, method.consumer_count)

    def publish(self, place: Place, body: bytes, properties: pika.BasicProperties, then: Callable[[], None]) -> None:
        """Publish a message, and do something when the broker has confirmed it."""
        self._unconfirmed[self._next_tag] = then
        self._next_tag += 1
        self.channel.basic_publish(*place, body, properties, mandatory=True)

    def end(self, reason: BaseException) -> None:
        """Give everything up."""
        resolve(self.closed, reason)

    def check(self) -> None:
        """Raise why the session is over, if it is."""
        if self.closed.done():
            raise self.closed.result()

    def confirmed(self, frame: Any) -> None:
        """The broker has taken messages, or refused them."""
        method = frame.method
        if isinstance(method, pika.spec.Basic.Nack):
            self.end(CtlError("the broker refused a message: a queue is full, or has no quorum"))
            return
        while self._unconfirmed and next(iter(self._unconfirmed)) <= method.delivery_tag:
            if not method.multiple:
                self._unconfirmed.pop(method.delivery_tag)()
                return
            self._unconfirmed.popitem(last=False)[1]()

    def returned(self, _channel: Channel, method: Any, _properties: pika.BasicProperties, _body: bytes) -> None:
        """A message had no queue to go to."""
        self.end(CtlError(f"no queue is bound to {method.exchange} for {method.routing_key}"))


@asynccontextmanager
async def session(urls: str) -> AsyncIterator[Session]:
    """A session on any node. CtlError where another one is at work, or the broker goes away: messages that were moved
    are then safe, the others are where they were."""
    try:
        connection, closed = await open_connection(Nodes(urls), "smsctl doctor --fix")
        try:
            channel = await open_channel(connection, closed)
            opened = Session(channel, closed)
            connection.add_on_connection_blocked_callback(
                lambda *_: opened.end(CtlError("an alarm keeps the broker from taking messages"))
            )
            channel.add_on_return_callback(opened.returned)
            await opened.call(channel.queue_declare, _LOCK, exclusive=True)
            await opened.call(partial(channel.confirm_delivery, opened.confirmed))
            yield opened
        finally:
            await close_connection(connection)
    except UNREACHABLE as error:
        raise CtlError(_sentence(error)) from None


class Move:
    """Takes everything out of one queue and publishes it where `place` says."""

    def __init__(self, opened: Session, source: str, place: Callable[[Place], Place], prefetch: int) -> None:
        self._session, self._source, self._place, self._prefetch = opened, source, place, prefetch
        self._taken = self.moved = 0

    async def begin(self) -> None:
        """Consume; from now on the consumer is ours until the queue is deleted."""
        channel = self._session.channel
        await self._session.call(channel.basic_qos, prefetch_count=self._prefetch)
        await self._session.call(channel.basic_consume, self._source, self._take)

    async def until_empty(self) -> None:
        """Return when nothing is in the queue, nobody else holds a message of it, and nothing is on its way to us.

        A quorum queue counts as a consumer whoever holds messages of it (seen on 3.10 and 4.3). That ours is counted
        shows that the queue itself has answered: where it cannot, the broker says that there is nothing and nobody.
        """
        quiet_since = moved_at = _now_s()
        last = self._taken, self.moved
        while True:
            await asyncio.sleep(_POLL_S)
            self._session.check()
            if (seen := (self._taken, self.moved)) != last:
                last, quiet_since, moved_at = seen, _now_s(), _now_s()
                continue
            if self._taken != self.moved or await self._session.counts(self._source) != Counts(0, 1):
                quiet_since = _now_s()
            if _now_s() - quiet_since > _QUIET_S:
                return
            if _now_s() - moved_at > _STANDSTILL_S:
                raise CtlError(await self._why())

    def _take(self, _channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        self._taken += 1
        place = self._place((method.exchange, method.routing_key))
        self._session.publish(place, body, carried(properties), partial(self._done, method.delivery_tag))

    def _done(self, tag: int) -> None:
        crash_at("doctor.moved")
        if self._session.channel.is_open:
            self._session.channel.basic_ack(tag)
        self.moved += 1

    async def _why(self) -> str:
        if self._taken != self.moved:
            return f"the broker has not confirmed a message for {_STANDSTILL_S} s"
        return f"somebody holds messages of {self._source}: the management UI, a script, smsctl audit"


def carried(properties: pika.BasicProperties) -> pika.BasicProperties:
    """A message's properties as they are to be published again: its own, without what the broker added."""
    if properties.headers:
        own = {name: value for name, value in properties.headers.items() if name not in _THE_BROKERS_OWN}
        properties.headers = own or None
    # Who published it first: the broker takes it from that user only.
    properties.user_id = None
    return properties


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _sentence(error: BaseException) -> str:
    if isinstance(error, pika.exceptions.ChannelClosedByBroker):
        if error.reply_code == _RESOURCE_LOCKED:
            return "another smsctl doctor --fix is at work"
        return mismatch(error.reply_text) if error.reply_code == _PRECONDITION_FAILED else str(error.reply_text)
    return f"the connection to the broker was lost: {describe(error)}"
