"""Messages of a provider that is stopped, or that no sender has any more, go back to the dispatcher: it sends them
another way."""

import asyncio
from collections.abc import Sequence

from services.sender.stages import Turn
from services.sender.stale_settler import StaleSettler
from services.sender.turn_reader import TurnReader
from shared.amqp.messages import Delivery
from shared.domain.outcome import Outcome
from shared.domain.states import State
from shared.micro_batch import next_batch
from shared.running_tasks import RunningTasks

_MOST, _LINGER_S = 200, 0.003
_MARKED_WITHIN_S = 1.5
"""A dispatcher marks a message as queued a second after its publish was confirmed."""

FEED_AGAIN = Outcome(State.PENDING)


class HandingBack:
    """Makes rows pending, and acks their deliveries."""

    def __init__(self, reader: TurnReader, stale: StaleSettler) -> None:
        self._reader, self._stale = reader, stale

    async def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Have the messages fed again.

        One that was published a moment ago is pending still, and its dispatcher is about to mark it as queued: acked
        before that, it would be queued and nowhere.
        """
        turns: Sequence[Turn] = self._reader.ready(deliveries)
        if turns := await self._stale.moved_without_call(turns, FEED_AGAIN):
            await asyncio.sleep(_MARKED_WITHIN_S)
            await self._stale.record_without_call(turns, FEED_AGAIN)


class HandingBackAll:
    """Hands back whatever comes: of queues whose provider there is not any more."""

    def __init__(self, handing_back: HandingBack, under_way: RunningTasks) -> None:
        self._handing_back, self._under_way = handing_back, under_way
        self._arrivals: asyncio.Queue[Delivery] = asyncio.Queue()

    def take(self, delivery: Delivery) -> None:
        """Queue a delivery; how many may wait is bounded by the prefetch."""
        self._arrivals.put_nowait(delivery)

    async def run(self) -> None:
        """Hand back until cancelled."""
        await asyncio.gather(self._handing(), self._under_way.failure)

    async def _handing(self) -> None:
        while True:
            deliveries = await next_batch(self._arrivals, _MOST, _LINGER_S)
            await asyncio.shield(self._under_way.begin(self._handing_back.hand_back(deliveries)))

    def forget(self) -> None:
        """Drop what has not begun: the broker delivers it again."""
        while not self._arrivals.empty():
            self._arrivals.get_nowait()

    async def drain(self) -> None:
        """Wait until what has begun is settled."""
        await self._under_way.ended()

    async def cancel(self) -> None:
        """End what has begun."""
        await self._under_way.cancel()
