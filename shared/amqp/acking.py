"""Acks of one channel, those of one turn of the event loop together, one for many deliveries where that is right."""

import asyncio
from collections.abc import Iterable

from pika.channel import Channel

from shared.amqp.encoding import send_acks


class Acks:
    """Acks deliveries by their tags; those of a channel that is gone say nothing, as its deliveries come again."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._order = AckOrder()
        self._waiting: list[int] = []

    def ack(self, tag: int) -> None:
        """Ack a delivery, at the latest when the event loop comes round."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(tag)

    def flush(self) -> None:
        """Send what waits."""
        tags, self._waiting = self._waiting, []
        if tags and self._channel.is_open:
            send_acks(self._channel, self._order.acks(tags))


class AckOrder:
    """Which acks stand for which deliveries. A channel's tags count up from 1, whatever the queue."""

    def __init__(self) -> None:
        self._lowest = 1
        """Every tag below is acked."""
        self._acked: set[int] = set()
        """Those above that are."""

    def acks(self, tags: Iterable[int]) -> list[tuple[int, bool]]:
        """The acks to send for these tags, each given once: a tag, and whether it stands for all before it too.

        One ack stands for many only where every delivery before is settled: what is still in work stays the
        consumer's. The tag of such an ack has to be one that is not acked yet, or the broker closes the channel.
        """
        fresh = set(tags)
        last_fresh = 0
        while self._lowest in fresh or self._lowest in self._acked:
            if self._lowest in fresh:
                last_fresh = self._lowest
                fresh.discard(self._lowest)
            self._acked.discard(self._lowest)
            self._lowest += 1
        self._acked |= fresh
        through = [(last_fresh, True)] if last_fresh else []
        return [*through, *((tag, False) for tag in sorted(fresh))]
