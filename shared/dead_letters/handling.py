"""Looking through dead letters, sending them again, throwing them away: each safe to repeat, and to be cut off."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.amqp.queue_browser import browsing
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.dead_letters.reading import read_dead_letter
from shared.domain.dead_letter import DeadLetter, Selection
from shared.domain.ids import is_ours
from shared.domain.outgoing import Outgoing
from shared.domain.replay import ReplayAction, ReplayDecision, decide_batch_replay, decide_replay
from shared.errors import BrokerUnreachable, LedgerUnavailable, PublishError, Unroutable
from shared.ledger.database import Database
from shared.ledger.dead_letters import DeadLettersLedger, Discard
from shared.messages import BATCH_TYPE, OUTBOUND_TYPE
from shared.topology import BATCHES, DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, OUTBOUND

LETTER_QUEUES = (DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE)
_CHUNK = 500
_BATCH_CHUNK = 2
"""A batch's letter holds the whole batch: up to 15 MiB."""
_CONFIRM_TIMEOUT_S = 15
_PATIENCE_S = 60
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0
_TRIES = 3

Result = TypeVar("Result")


@dataclass(slots=True)
class Tally:
    """What came of the letters. `seen` are all that were looked at, `chosen` those that were meant.

    `removed` and `left` count, by reason, stale letters that were taken out and letters that cannot be sent again.
    """

    seen: int = 0
    chosen: int = 0
    done: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many letters to send again or throw away at most, and how many a second; None for as many as there are."""

    most: int | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A letter that is meant, while it is ours."""

    letter: DeadLetter
    delivery: Delivery


async def survey(urls: str, queue: str, name: str, see: Callable[[DeadLetter], None], most: int | None = None) -> bool:
    """Show `see` the letters of a queue, oldest first, which stay there; whether those were all.

    QueueMissing, BrokerUnreachable.
    """
    seen = 0
    async with browsing(urls, queue, name) as browser:
        async for chunk in browser.chunks(chunk_size(queue)):
            for delivery in chunk:
                if seen == most:
                    return False
                see(read_dead_letter(delivery))
                seen += 1
    return True


class DeadLetterHandler:
    """The dead letters of one broker and one ledger; `name` is what its connections are called there."""

    def __init__(self, urls: str, database: Database, name: str) -> None:
        self._urls, self._ledger, self._name = urls, DeadLettersLedger(database), name

    async def replay(
        self,
        queue: str,
        selection: Selection,
        limits: Limits = Limits(),
        *,
        dry_run: bool = False,
        progress: Callable[[Tally], None] = lambda _tally: None,
    ) -> Tally:
        """Send again what fits: published, confirmed, noted in the ledger, only then taken out of the queue.

        Cut off anywhere, the letters that are left are there to be sent again; one that went out already is then found
        to be stale. Letters that come while this runs are left for another time. BrokerUnreachable where the broker
        goes, or takes nothing for a minute.
        """
        tally = Tally()
        async with self._publisher() as publisher, aclosing(self._chosen(queue, selection, limits, tally)) as chunks:
            async for chosen in chunks:
                decided = await self._decided(queue, chosen)
                to_send = [item for item, decision in decided if decision.action is ReplayAction.SEND]
                if not dry_run:
                    await self._publish(queue, to_send, publisher)
                    crash_at("letters.confirmed")
                    await self._note(queue, to_send)
                    crash_at("letters.noted")
                for item, decision in decided:
                    _count(tally, decision)
                    if decision.action is not ReplayAction.LEAVE and not dry_run:
                        item.delivery.ack()
                progress(tally)
        return tally

    async def discard(
        self,
        queue: str,
        selection: Selection,
        reason: str,
        limits: Limits = Limits(),
        *,
        dry_run: bool = False,
        progress: Callable[[Tally], None] = lambda _tally: None,
    ) -> Tally:
        """Throw away what fits: written down with the reason, only then taken out of the queue.

        The numbers stay as they are in the ledger: failed.
        """
        tally = Tally()
        async with aclosing(self._chosen(queue, selection, limits, tally)) as chunks:
            async for chosen in chunks:
                if not dry_run:
                    records = [_discard(item.letter, reason) for item in chosen]
                    await _tried_again(partial(self._ledger.discarded, records))
                    crash_at("letters.noted")
                    for item in chosen:
                        item.delivery.ack()
                tally.done += len(chosen)
                progress(tally)
        return tally

    async def _chosen(
        self, queue: str, selection: Selection, limits: Limits, tally: Tally
    ) -> AsyncGenerator[list[_Chosen]]:
        """The letters that are meant, a chunk at a time and at the given rate; they can be acked until the next one."""
        size = chunk_size(queue, limits.rate)
        began_at_s = time.monotonic()
        async with browsing(self._urls, queue, self._name) as browser:
            # What comes behind these has failed since: taken too, a number that fails at once would go in circles.
            there = await browser.ready() + size
            async for chunk in browser.chunks(size):
                letters = [_Chosen(read_dead_letter(delivery), delivery) for delivery in chunk]
                room = None if limits.most is None else limits.most - tally.done
                chosen = [item for item in letters if selection.fits(item.letter)][:room]
                tally.seen += len(chunk)
                tally.chosen += len(chosen)
                if chosen:
                    yield chosen
                if tally.seen >= there or tally.done == limits.most:
                    return
                if limits.rate:
                    await asyncio.sleep(began_at_s + tally.done / limits.rate - time.monotonic())

    async def _decided(self, queue: str, chosen: Sequence[_Chosen]) -> list[tuple[_Chosen, ReplayDecision]]:
        if queue == DEAD_LETTER_BATCHES_QUEUE:
            return [(item, await self._decided_batch(item.letter)) for item in chosen]
        keys = [key for item in chosen if (key := item.letter.key)]
        statuses = await _tried_again(lambda: self._ledger.statuses(keys))
        return [(item, decide_replay(item.letter, statuses.get(item.letter.key or ("", 0)))) for item in chosen]

    async def _decided_batch(self, letter: DeadLetter) -> ReplayDecision:
        # What nobody could read may have any text for an id.
        known = is_ours(letter.batch_id)
        standing = await _tried_again(lambda: self._ledger.batch_status(letter.batch_id)) if known else None
        return decide_batch_replay(letter, standing)

    async def _publish(self, queue: str, items: Sequence[_Chosen], publisher: Publisher) -> None:
        """Have it all confirmed; BrokerUnreachable where the broker takes none of it for long."""
        waiting = [_outgoing(queue, item.letter) for item in items]
        pause_s, give_up_at_s = _FIRST_PAUSE_S, time.monotonic() + _PATIENCE_S
        while waiting:
            failed = await publisher.publish_all(waiting, _CONFIRM_TIMEOUT_S)
            if not failed:
                return
            error = next(iter(failed.values()))
            if len(failed) < len(waiting):
                pause_s, give_up_at_s = _FIRST_PAUSE_S, time.monotonic() + _PATIENCE_S
            elif isinstance(error, Unroutable) or time.monotonic() > give_up_at_s:
                raise BrokerUnreachable(_refused(error))
            waiting = [waiting[position] for position in sorted(failed)]
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _note(self, queue: str, items: Sequence[_Chosen]) -> None:
        turns = [item.letter.turn for item in items if item.letter.turn]
        if turns and queue != DEAD_LETTER_BATCHES_QUEUE:
            attempts = [((turn.batch_id, turn.row), turn.attempt) for turn in turns]
            await _tried_again(lambda: self._ledger.sent_again(attempts, now_ms()))

    @asynccontextmanager
    async def _publisher(self) -> AsyncIterator[Publisher]:
        publisher = Publisher(self._urls, f"{self._name} publishes", self._name, _nothing)
        running = asyncio.create_task(publisher.run())
        try:
            yield publisher
        finally:
            await publisher.close()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def chunk_size(queue: str, rate: float | None = None) -> int:
    """How many letters of a queue to hold at once; fewer where only so many a second are handled."""
    if queue == DEAD_LETTER_BATCHES_QUEUE:
        return _BATCH_CHUNK
    # Five chunks a second, so that a low rate is even.
    return _CHUNK if not rate else max(1, min(_CHUNK, round(rate / 5)))


def _count(tally: Tally, decision: ReplayDecision) -> None:
    match decision.action:
        case ReplayAction.SEND:
            tally.done += 1
        case ReplayAction.REMOVE:
            tally.removed[decision.reason] += 1
        case ReplayAction.LEAVE:
            tally.left[decision.reason] += 1


def _outgoing(queue: str, letter: DeadLetter) -> Outgoing:
    is_batch = queue == DEAD_LETTER_BATCHES_QUEUE
    return Outgoing(
        exchange=BATCHES if is_batch else OUTBOUND,
        routing_key=BATCHES if is_batch or letter.turn is None else letter.turn.lane,
        body=letter.body,
        type=BATCH_TYPE if is_batch else OUTBOUND_TYPE,
        message_id=letter.message_id,
        correlation_id=letter.batch_id,
        timestamp_s=now_ms() // 1000,
    )


def _discard(letter: DeadLetter, reason: str) -> Discard:
    attempt = letter.turn.attempt if letter.turn else 0
    return Discard(letter.queue, letter.message_id, attempt, letter.failed_at, now_ms(), letter.code, reason)


def _refused(error: PublishError) -> str:
    hint = "; smsctl topology declares what is missing" if isinstance(error, Unroutable) else ""
    return f"the broker takes nothing: {error}{hint}"


async def _tried_again(ask: Callable[[], Awaitable[Result]]) -> Result:
    """The ledger's answer; a deadlock with a sender is a reason to ask once more."""
    for _ in range(_TRIES - 1):
        try:
            return await ask()
        except LedgerUnavailable:
            await asyncio.sleep(_FIRST_PAUSE_S)
    return await ask()


async def _nothing() -> None:
    """The topology is the services' to declare."""
