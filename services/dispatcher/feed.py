"""Feeding the outbound queues: pending numbers of every running batch, in turn, never more than a bound ahead."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import structlog

from services.dispatcher import metrics
from services.dispatcher.ending import CONFIRM_TIMEOUT_S, Ending
from services.dispatcher.fed_stream import FedStream, Hold
from services.dispatcher.queued_marker import FedKey, QueuedMarker
from services.dispatcher.router import Router
from shared.amqp.publisher import Publisher
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.domain.message import message_id
from shared.domain.outcome import Outcome
from shared.domain.outcome import expired as expired_outcome
from shared.domain.outgoing import Outgoing
from shared.domain.phone import mask
from shared.domain.states import State
from shared.errors import LedgerUnavailable
from shared.ledger.clock import LedgerClock
from shared.ledger.feeding import FeedingLedger, PendingRow, RunningBatch
from shared.ledger.waiting import when_ledger_answers
from shared.messages import OUTBOUND_TYPE, outbound_body
from shared.topology import OUTBOUND, Lane, outbound_key, outbound_queue

_CHUNK = 1000
_CHUNKS_IN_FLIGHT = 4
_LEAST_ROOM = 1 / 4
"""A turn costs the same for one number as for a chunk: so much of the bound is to be free first, or a chunk."""
_LEASE_MS = 6_000
_LEASE_EVERY_S = 1.0
_FULL_PAUSE_S = 0.05

Depth = Callable[[str], Awaitable[int | None]]
_Routed = tuple[PendingRow, str]
"""A row, and the provider that it goes to."""
log = structlog.get_logger()


class Feeder:
    """Publishes pending numbers, and has them marked queued afterwards.

    In this order a crash leaves rows pending that are on the queue already; they are published once more, and the
    claim lets only one copy be sent. The other order would leave rows queued that are nowhere.
    """

    def __init__(
        self,
        ledger: tuple[FeedingLedger, LedgerClock],
        publisher: Publisher,
        marker: QueuedMarker,
        depth: Depth,
        bound: int,
        dispatcher: str,
        router: Router | None = None,
    ) -> None:
        self._ledger, self._clock = ledger
        self._publisher, self._marker, self._depth = publisher, marker, depth
        self._bound, self._dispatcher, self._router = bound, dispatcher, router or Router()
        self._ending = Ending(self._ledger, publisher, dispatcher)
        marker.marked = self._look_again
        self._batches: dict[str, RunningBatch] = {}
        self._fed: dict[FedKey, FedStream] = {}
        self._holds: defaultdict[str, Hold] = defaultdict(Hold)
        self._settling: dict[FedKey, FedStream] = {}
        """Streams that are gone, with rows that are published and not marked yet: another stream has these now."""
        self._in_flight: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(_CHUNKS_IN_FLIGHT)
        self._chunks: set[asyncio.Task[None]] = set()
        self._work = asyncio.Event()
        self._lease_due_at_s = 0.0
        self._stopping = False
        self._failure: BaseException | None = None

    def wake(self, batch_id: str) -> None:
        """Look at a batch's new rows now, not at the next turn."""
        if batch_id not in self._batches:
            self._lease_due_at_s = 0.0
        for fed in self._fed.values():
            if fed.batch.batch_id == batch_id:
                fed.quiet_until_s = 0.0
        self._work.set()

    async def run(self) -> None:
        """Feed until cancelled."""
        while not self._stopping:
            if self._failure:
                raise self._failure
            self._work.clear()
            await self._renew_leases()
            await self._router.look()
            soon = [await self._feed_lane(lane) for lane in Lane]
            await self._pause(_FULL_PAUSE_S if any(soon) or self._chunks else _LEASE_EVERY_S)

    async def drain(self) -> None:
        """Wait until every published number is confirmed and marked, and let other dispatchers take over."""
        self._stopping = True
        while self._chunks:
            await asyncio.wait(self._chunks)
        try:
            await self._marker.drain()
        finally:
            await self._release()

    async def _release(self) -> None:
        try:
            await self._ledger.release(self._dispatcher)
        except LedgerUnavailable as error:
            log.warning("leases_run_out_by_themselves", reason=str(error))

    async def _pause(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._work.wait()
        except TimeoutError:
            pass

    async def _renew_leases(self) -> None:
        if time.monotonic() < self._lease_due_at_s:
            return
        self._lease_due_at_s = time.monotonic() + _LEASE_EVERY_S
        # When it answers, not when it was asked first: a lease counts from then. With a wrong clock none is renewed: it
        # runs out, and who has the right time takes over.
        leased: list[RunningBatch] = []
        if self._clock.is_right:
            leased = await when_ledger_answers(lambda: self._ledger.lease(self._dispatcher, now_ms(), _LEASE_MS))
        self._batches = {batch.batch_id: batch for batch in leased}
        streams = {
            (batch.batch_id, stream.prefix): (batch, stream)
            for batch in leased
            for stream in self._router.streams(batch)
        }
        # Those that wait for their turn keep their places.
        fed_before = self._fed
        kept = {key: fed for key, fed in self._fed.items() if key in streams}
        for key, fed in kept.items():
            fed.stream = streams[key][1]  # the routes may be others since
        self._fed = {**kept, **{key: FedStream(*streams[key]) for key in streams if key not in kept}}
        for key in fed_before.keys() - self._fed.keys():
            self._marker.hurry(key)
            self._settling[key] = fed_before[key]
        self._settling = {key: fed for key, fed in self._settling.items() if fed.in_flight or self._marker.has_any(key)}
        metrics.RUNNING.set(len(self._batches))
        now = now_ms()
        for batch in leased:
            if batch.expires_at_ms is not None and batch.expires_at_ms <= now:
                await self._expire(batch.batch_id, now)

    async def _expire(self, batch_id: str, now: int) -> None:
        if expired := await when_ledger_answers(lambda: self._ledger.expire(batch_id, now)):
            log.warning("messages_expired", batch_id=batch_id, expired=expired)
        if self._router.chooses:
            for fed in [fed for fed in self._fed.values() if fed.batch.batch_id == batch_id]:
                await self._expire_unclear(fed)

    async def _expire_unclear(self, fed: FedStream) -> None:
        """End what may have been sent and has not been sent again in time. A sender does that, unless its provider is
        stopped, and is given nothing."""
        if fed.in_flight or self._marker.has_any(fed.key):
            return
        rows = await when_ledger_answers(lambda: self._ledger.pending(fed.batch.batch_id, -1, _CHUNK, fed.stream))
        if rows:
            await self._end(fed, rows, expired_outcome())

    async def _feed_lane(self, lane: Lane) -> bool:
        """One turn of every stream of the lane, as far as there is room; whether to come again soon: something was
        published, or there will be room once senders have taken some."""
        now_s = time.monotonic()
        settling = {batch_id for batch_id, _prefix in self._settling}
        feds = [
            fed
            for fed in self._fed.values()
            if fed.batch.lane == lane and fed.quiet_until_s <= now_s and fed.batch.batch_id not in settling
        ]
        if not feds or not self._publisher.is_ready or self._stopping or self._marker.is_full:
            return False
        rooms, soon = await self._rooms(lane, {route.provider for fed in feds for route in fed.stream.routes})
        for position, fed in enumerate(feds):
            if not fed.stream.routes:
                soon = await self._refuse(fed) or soon
                continue
            room = sum(rooms.get(route.provider, 0) for route in fed.stream.routes)
            if room <= 0:
                continue
            # What had a turn goes last, so that small room is not always the same batches'.
            self._fed[fed.key] = self._fed.pop(fed.key)
            taken = await self._feed(fed, min(_CHUNK, max(1, room // (len(feds) - position))), rooms)
            soon = soon or taken > 0
        return soon

    async def _rooms(self, lane: Lane, providers: Iterable[str]) -> tuple[dict[str, int], bool]:
        """For how many messages there is room in the lane's queue of each provider, none where a turn is not worth its
        while; and whether there will be more soon."""
        rooms: dict[str, int] = {}
        soon = False
        for provider in sorted(providers):
            queue, bound = outbound_queue(lane, provider), self._router.bound(provider, self._bound)
            if not bound or time.monotonic() < self._holds[queue].until_s:
                continue
            # Counted before the queue is asked: what is confirmed meanwhile is then counted twice, never missed.
            in_flight = self._in_flight[queue]
            depth = await self._depth(queue)
            if depth is None:
                continue
            room = bound - depth - in_flight
            if room >= max(1, min(_CHUNK, int(bound * _LEAST_ROOM))):
                rooms[provider] = room
            else:
                soon = True
        return rooms, soon

    async def _feed(self, fed: FedStream, limit: int, rooms: dict[str, int]) -> int:
        """Begin to publish a stream's next rows; how many. What they take is taken from `rooms`."""
        if fed.after_row < 0 and self._marker.has_any(fed.key):
            # Leased again before its rows were marked: read now, they would be published once more.
            self._marker.hurry(fed.key)
            return 0
        rows = await when_ledger_answers(
            lambda: self._ledger.pending(fed.batch.batch_id, fed.after_row, limit, fed.stream)
        )
        if not rows:
            fed.had_none(time.monotonic())
            if self._marker.has_any(fed.key):
                self._marker.hurry(fed.key)
            elif not fed.in_flight:
                # What is pending now lies behind: rows that came back, or whose publish was not confirmed.
                fed.after_row = -1
            return 0
        its_own = {route.provider for route in fed.stream.routes}
        gone = [row for row in rows if row.may_be_at is not None and row.may_be_at not in its_own]
        routed = self._routed(fed, [row for row in rows if row not in gone] if gone else rows, rooms)
        fed.after_row = rows[-1].row
        if gone:
            await self._end(fed, gone, _PROVIDER_GONE)
        if not routed:
            return len(gone)
        fed.in_flight += len(routed)
        await self._slots.acquire()
        task = asyncio.create_task(self._publish(fed, routed))
        self._chunks.add(task)
        task.add_done_callback(self._chunk_done)
        return len(routed)

    def _routed(self, fed: FedStream, rows: Sequence[PendingRow], rooms: dict[str, int]) -> Sequence[_Routed]:
        """The rows with their providers. What may have been sent already stays with the one that may have it, and waits
        for that: it has its turn when the batch is gone through again."""
        free = sum(row.may_be_at is None for row in rows)
        providers = iter(self._router.share(free, fed.stream, rooms))
        routed: list[_Routed] = []
        for row in rows:
            provider = next(providers, None) if row.may_be_at is None else row.may_be_at
            if provider is not None and rooms.get(provider, 0) > 0:
                rooms[provider] -= 1
                routed.append((row, provider))
        self._in_flight.update(_by_queue(fed, routed))
        return routed

    async def _refuse(self, fed: FedStream) -> bool:
        """Begin to end the stream's next rows, which no provider serves; whether there were any."""
        if fed.in_flight:
            return True
        rows = await when_ledger_answers(lambda: self._ledger.pending(fed.batch.batch_id, -1, _CHUNK, fed.stream))
        if not rows:
            fed.had_none(time.monotonic())
            return False
        await self._end(fed, rows, Outcome(State.FAILED, "no_route", self._router.why_not(fed.batch)))
        return True

    async def _end(self, fed: FedStream, rows: Sequence[PendingRow], outcome: Outcome) -> None:
        """Begin to end rows; what may have been sent ends as unclear."""
        fed.in_flight += len(rows)
        await self._slots.acquire()
        task = asyncio.create_task(self._ended(fed, rows, outcome))
        self._chunks.add(task)
        task.add_done_callback(self._chunk_done)

    async def _ended(self, fed: FedStream, rows: Sequence[PendingRow], outcome: Outcome) -> None:
        try:
            await self._ending.end(fed.batch, rows, outcome)
        finally:
            fed.in_flight -= len(rows)

    def _chunk_done(self, task: asyncio.Task[None]) -> None:
        self._slots.release()
        self._chunks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failure = error
        self._look_again()

    def _look_again(self) -> None:
        self._work.set()

    async def _publish(self, fed: FedStream, routed: Sequence[_Routed]) -> None:
        try:
            timestamp_s = now_ms() // 1000
            with metrics.CHUNK_SECONDS.time():
                failed = await self._publisher.publish_all(
                    [_outgoing(fed.batch, row, provider, timestamp_s) for row, provider in routed], CONFIRM_TIMEOUT_S
                )
            confirmed = [row for position, (row, _provider) in enumerate(routed) if position not in failed]
            if failed:
                metrics.UNFED.inc(len(failed))
                log.warning("publish_not_confirmed", messages=len(failed), reason=str(next(iter(failed.values()))))
            self._note_holds(fed, routed, failed)
            if confirmed:
                crash_at("dispatcher.confirmed")
                metrics.FED.labels(fed.batch.lane).inc(len(confirmed))
                self._marker.add(fed.key, confirmed)
        finally:
            fed.in_flight -= len(routed)
            self._in_flight.subtract(_by_queue(fed, routed))

    def _note_holds(self, fed: FedStream, routed: Sequence[_Routed], failed: Collection[int]) -> None:
        refusing = {routed[position][1] for position in failed}
        for provider in {provider for _row, provider in routed}:
            hold = self._holds[outbound_queue(fed.batch.lane, provider)]
            if provider in refusing:
                hold.failed(time.monotonic())
            else:
                hold.succeeded()


_PROVIDER_GONE = Outcome(State.FAILED, "provider_gone", "Its provider does not serve it any more")


def _by_queue(fed: FedStream, routed: Sequence[_Routed]) -> Counter[str]:
    providers = Counter(provider for _row, provider in routed)
    return Counter({outbound_queue(fed.batch.lane, provider): number for provider, number in providers.items()})


def _outgoing(batch: RunningBatch, row: PendingRow, provider: str, timestamp_s: int) -> Outgoing:
    # By position: by name it takes twice as long, and this is done for each number.
    return Outgoing(
        OUTBOUND,
        outbound_key(batch.lane, provider),
        outbound_body(batch.batch_id, row.row, row.attempt, mask(row.recipient), batch.lane, None, row.segments or 1),
        OUTBOUND_TYPE,
        message_id(batch.batch_id, row.row),
        batch.batch_id,
        timestamp_s,
    )
