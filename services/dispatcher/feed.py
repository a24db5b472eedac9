"""Feeding the outbound queues: pending numbers of every running batch, in turn, never more than a bound ahead."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from services.dispatcher import metrics
from services.dispatcher.queued_marker import QueuedMarker
from shared.amqp.publisher import Publisher
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.domain.message import message_id
from shared.domain.outgoing import Outgoing
from shared.domain.phone import mask
from shared.errors import LedgerUnavailable
from shared.ledger.clock import LedgerClock
from shared.ledger.feeding import FeedingLedger, PendingRow, RunningBatch
from shared.ledger.waiting import when_ledger_answers
from shared.messages import OUTBOUND_TYPE, outbound_body
from shared.topology import OUTBOUND, Lane, outbound_queue

_CHUNK = 1000
_CHUNKS_IN_FLIGHT = 4
_LEAST_ROOM = 1 / 4
"""A turn costs the same for one number as for a chunk: so much of the bound is to be free first, or a chunk."""
_CONFIRM_TIMEOUT_S = 15
_LEASE_MS = 6_000
_LEASE_EVERY_S = 1.0
_FULL_PAUSE_S = 0.05
_SHORTEST_HOLD_S, _LONGEST_HOLD_S = 0.5, 4.0

Depth = Callable[[str], Awaitable[int | None]]
log = structlog.get_logger()


@dataclass(slots=True)
class _Fed:
    """How far a batch is fed: rows up to `after_row` are published, `in_flight` of them not yet confirmed."""

    batch: RunningBatch
    after_row: int = -1
    in_flight: int = 0


@dataclass(slots=True)
class _Hold:
    """How long a lane waits after the broker took no messages: twice as long each time, until it takes some."""

    until_s: float = 0.0
    next_s: float = _SHORTEST_HOLD_S

    def failed(self, now_s: float) -> None:
        """Chunks fly together: what fails while the lane waits already counts once."""
        if now_s >= self.until_s:
            self.until_s, self.next_s = now_s + self.next_s, min(2 * self.next_s, _LONGEST_HOLD_S)

    def succeeded(self) -> None:
        self.until_s, self.next_s = 0.0, _SHORTEST_HOLD_S


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
    ) -> None:
        self._ledger, self._clock = ledger
        self._publisher, self._marker, self._depth = publisher, marker, depth
        self._bound, self._dispatcher = bound, dispatcher
        marker.marked = self._look_again
        self._fed: dict[str, _Fed] = {}
        self._holds = {lane: _Hold() for lane in Lane}
        self._slots = asyncio.Semaphore(_CHUNKS_IN_FLIGHT)
        self._chunks: set[asyncio.Task[None]] = set()
        self._work = asyncio.Event()
        self._lease_due_at_s = 0.0
        self._stopping = False
        self._failure: BaseException | None = None

    def wake(self, batch_id: str) -> None:
        """Look at a batch's new rows now, not at the next turn."""
        if batch_id not in self._fed:
            self._lease_due_at_s = 0.0
        self._work.set()

    async def run(self) -> None:
        """Feed until cancelled."""
        while not self._stopping:
            if self._failure:
                raise self._failure
            self._work.clear()
            await self._renew_leases()
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
        now, running = now_ms(), {batch.batch_id: batch for batch in leased}
        # Those that wait for their turn keep their places.
        fed_before = self._fed.keys()
        kept = {batch_id: fed for batch_id, fed in self._fed.items() if batch_id in running}
        self._fed = {**kept, **{batch_id: _Fed(batch) for batch_id, batch in running.items() if batch_id not in kept}}
        for batch_id in fed_before - self._fed.keys():
            self._marker.hurry(batch_id)
        metrics.RUNNING.set(len(self._fed))
        for fed in self._fed.values():
            if fed.batch.expires_at_ms is not None and fed.batch.expires_at_ms <= now:
                await self._expire(fed.batch.batch_id, now)

    async def _expire(self, batch_id: str, now: int) -> None:
        if expired := await when_ledger_answers(lambda: self._ledger.expire(batch_id, now)):
            log.warning("messages_expired", batch_id=batch_id, expired=expired)

    async def _feed_lane(self, lane: Lane) -> bool:
        """One turn of every batch of the lane, as far as there is room; whether to come again soon: something was
        published, or there will be room once senders have taken some."""
        batches = [fed for fed in self._fed.values() if fed.batch.lane == lane]
        if not batches or not self._publisher.is_ready or self._stopping or self._marker.is_full:
            return False
        if time.monotonic() < self._holds[lane].until_s:
            return False
        # Counted before the queue is asked: what is confirmed meanwhile is then counted twice, never missed.
        in_flight = sum(fed.in_flight for fed in batches)
        depth = await self._depth(outbound_queue(lane))
        if depth is None:
            return False
        room = self._bound - depth - in_flight
        if room < max(1, min(_CHUNK, int(self._bound * _LEAST_ROOM))):
            return True
        soon = False
        for position, fed in enumerate(batches):
            share = max(1, room // (len(batches) - position))
            if room <= 0:
                break
            # What had a turn goes last, so that small room is not always the same batches'.
            self._fed[fed.batch.batch_id] = self._fed.pop(fed.batch.batch_id)
            taken = await self._feed(fed, min(_CHUNK, share))
            room -= taken
            soon = soon or taken > 0
        return soon

    async def _feed(self, fed: _Fed, limit: int) -> int:
        """Begin to publish a batch's next rows; how many."""
        if fed.after_row < 0 and self._marker.has_any(fed.batch.batch_id):
            # Leased again before its rows were marked: read now, they would be published once more.
            self._marker.hurry(fed.batch.batch_id)
            return 0
        rows = await when_ledger_answers(lambda: self._ledger.pending(fed.batch.batch_id, fed.after_row, limit))
        if not rows:
            if self._marker.has_any(fed.batch.batch_id):
                self._marker.hurry(fed.batch.batch_id)
            elif not fed.in_flight:
                # What is pending now lies behind: rows that came back, or whose publish was not confirmed.
                fed.after_row = -1
            return 0
        fed.after_row = rows[-1].row
        fed.in_flight += len(rows)
        await self._slots.acquire()
        task = asyncio.create_task(self._publish(fed, rows))
        self._chunks.add(task)
        task.add_done_callback(self._chunk_done)
        return len(rows)

    def _chunk_done(self, task: asyncio.Task[None]) -> None:
        self._slots.release()
        self._chunks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failure = error
        self._look_again()

    def _look_again(self) -> None:
        self._work.set()

    async def _publish(self, fed: _Fed, rows: Sequence[PendingRow]) -> None:
        try:
            timestamp_s = now_ms() // 1000
            with metrics.CHUNK_SECONDS.time():
                failed = await self._publisher.publish_all(
                    [_outgoing(fed.batch, row, timestamp_s) for row in rows], _CONFIRM_TIMEOUT_S
                )
            confirmed = [row for position, row in enumerate(rows) if position not in failed]
            hold = self._holds[Lane(fed.batch.lane)]
            if failed:
                metrics.UNFED.inc(len(failed))
                log.warning("publish_not_confirmed", messages=len(failed), reason=str(next(iter(failed.values()))))
                hold.failed(time.monotonic())
            else:
                hold.succeeded()
            if confirmed:
                crash_at("dispatcher.confirmed")
                metrics.FED.labels(fed.batch.lane).inc(len(confirmed))
                self._marker.add(fed.batch.batch_id, confirmed)
        finally:
            fed.in_flight -= len(rows)


def _outgoing(batch: RunningBatch, row: PendingRow, timestamp_s: int) -> Outgoing:
    # By position: by name it takes twice as long, and this is done for each number.
    return Outgoing(
        OUTBOUND,
        batch.lane,
        outbound_body(batch.batch_id, row.row, row.attempt, mask(row.recipient), batch.lane),
        OUTBOUND_TYPE,
        message_id(batch.batch_id, row.row),
        batch.batch_id,
        timestamp_s,
    )
