"""Pipelined publishing with confirms: many messages in flight, each one's fate known."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pika
from pika.channel import Channel

from shared.amqp.declare import DELETION_TAKES_S
from shared.amqp.encoding import send_publishes
from shared.amqp.link import Link, resolve
from shared.domain.outgoing import Outgoing
from shared.errors import PublishError, Rejected, Unconfirmed, Unroutable

_PREPARE_EVERY_S = 1.0


class _Group:
    """Messages that were published together: how many confirms are missing, and which failed."""

    __slots__ = ("done", "failed", "missing")

    def __init__(self, size: int, done: asyncio.Future[None]) -> None:
        self.missing = size
        self.failed: dict[int, PublishError] = {}
        self.done = done

    def settle(self, position: int, error: PublishError | None) -> None:
        if error is not None:
            self.failed[position] = error
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)


class Publisher:
    """Publishes on one channel in confirm mode, `mandatory` and persistent.

    `prepare` declares the topology: on every new connection, and when a message could not be routed.
    """

    def __init__(self, urls: str, name: str, app_id: str, prepare: Callable[[], Awaitable[None]]) -> None:
        self._prepare, self._prepared_at_s = prepare, 0.0
        self._link = Link(urls, name, self._up, self._down)
        self._app_id = app_id
        self._connection: pika.connection.Connection | None = None
        self._channel: Channel | None = None
        self._up_again = asyncio.Event()
        self._next_tag = 1
        # Confirms with `multiple` cover every lower tag, so the outstanding ones are kept in order.
        self._outstanding: OrderedDict[int, tuple[_Group, int, str]] = OrderedDict()
        self._returned: set[str] = set()
        self.blocked = False

    async def run(self) -> None:
        """Keep the connection; ends after `close`."""
        await self._link.run()

    async def close(self) -> None:
        """Close the connection; what is not confirmed by then fails as unconfirmed."""
        await self._link.close()

    @property
    def is_ready(self) -> bool:
        """Connected, and not blocked by a memory or disk alarm."""
        return self._link.is_up and not self.blocked

    async def publish_all(self, messages: Sequence[Outgoing], timeout_s: float) -> dict[int, PublishError]:
        """Publish and await every confirm; the positions that failed, each with its error. Empty: all are safe.

        A message that failed as `Unconfirmed` may have arrived all the same: publish it again under the same ids.
        """
        if not messages:
            return {}
        group = _Group(len(messages), asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(timeout_s):
                await self._up_again.wait()
                self._send(messages, group)
                await group.done
        except TimeoutError:
            return self._give_up(group, len(messages), timeout_s)
        if any(isinstance(error, Unroutable) for error in group.failed.values()):
            await self._prepare_again()
        return group.failed

    async def _prepare_again(self) -> None:
        if time.monotonic() - self._prepared_at_s > _PREPARE_EVERY_S:
            self._prepared_at_s = time.monotonic()
            await asyncio.sleep(DELETION_TAKES_S)
            await self._prepare()

    def _send(self, messages: Sequence[Outgoing], group: _Group) -> None:
        channel = self._channel
        if channel is None or not channel.is_open:
            # Others wait from now on: one who tries again at once would keep the loop from noticing the loss.
            self._up_again.clear()
            for position in range(len(messages)):
                group.settle(position, Unconfirmed("the connection to the broker was lost"))
            return
        send_publishes(channel, messages, self._app_id)
        for position, message in enumerate(messages):
            self._outstanding[self._next_tag] = (group, position, message.message_id)
            self._next_tag += 1

    def _give_up(self, group: _Group, size: int, timeout_s: float) -> dict[int, PublishError]:
        waiting = {position for owner, position, _id in self._outstanding.values() if owner is group}
        if waiting and not self.blocked:
            # On a channel that was open while a queue had no majority, confirms can stay away for good.
            self._link.give_up(f"no confirm within {timeout_s:g} s")
        never_sent = waiting if group.missing == len(waiting) else set(range(size))
        error = Unconfirmed(f"no confirm from the broker within {timeout_s:g} s")
        return {**dict.fromkeys(never_sent, error), **group.failed}

    async def _up(self, channel: Channel) -> None:
        selected = self._link.answer()
        channel.confirm_delivery(partial(self._confirmed, channel), callback=partial(resolve, selected))
        channel.add_on_return_callback(self._on_return)
        connection = self._connection = channel.connection
        connection.add_on_connection_blocked_callback(lambda *_: self._on_blocked(connection, blocked=True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._on_blocked(connection, blocked=False))
        await selected
        await self._prepare()
        self._next_tag = 1
        self._channel = channel
        self._let_through()

    def _down(self) -> None:
        self._channel = self._connection = None
        self._set_blocked(blocked=False)
        lost, self._outstanding = self._outstanding, OrderedDict()
        for group, position, _id in lost.values():
            group.settle(position, Unconfirmed("the connection to the broker was lost"))
        self._returned.clear()

    def _on_blocked(self, connection: pika.connection.Connection, *, blocked: bool) -> None:
        if connection is self._connection:
            self._set_blocked(blocked=blocked)

    def _set_blocked(self, *, blocked: bool) -> None:
        self.blocked = blocked
        self._let_through()

    def _let_through(self) -> None:
        # While an alarm blocks the connection, what is published only piles up, and again at every retry.
        if self._channel is not None and not self.blocked:
            self._up_again.set()
        else:
            self._up_again.clear()

    def _on_return(self, channel: Channel, _method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        # The broker sends basic.return just before the same message's confirm.
        if channel is self._channel:
            self._returned.add(properties.message_id or "")

    def _confirmed(self, channel: Channel, frame: Any) -> None:
        if channel is not self._channel:
            return  # a channel that was given up; its tags are now those of other messages
        method = frame.method
        rejected = isinstance(method, pika.spec.Basic.Nack)
        if not method.multiple:
            self._settle(self._outstanding.pop(method.delivery_tag), rejected=rejected)
            return
        while self._outstanding and next(iter(self._outstanding)) <= method.delivery_tag:
            self._settle(self._outstanding.popitem(last=False)[1], rejected=rejected)

    def _settle(self, entry: tuple[_Group, int, str], *, rejected: bool) -> None:
        group, position, message_id = entry
        error: PublishError | None = None
        if rejected:
            error = Rejected("the broker refused the message: a queue is full or has no quorum")
        elif self._returned and message_id in self._returned:
            self._returned.discard(message_id)
            error = Unroutable("no queue is bound for this message's routing key")
        group.settle(position, error)
