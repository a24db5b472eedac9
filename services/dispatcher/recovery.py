"""Numbers whose message is gone (a deleted queue, a broker without its disk, a process that never came back) go on."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from services.dispatcher import metrics
from shared.amqp.publisher import Publisher
from shared.clock import now_ms
from shared.domain.follow_ups import Source, letter_of
from shared.domain.message import EndedMessage
from shared.domain.outcome import Outcome
from shared.domain.outgoing import Outgoing
from shared.domain.recovery import RecoveryTimeouts, StillRow, UnsettledBatch, decide_recovery, expected_by_ms
from shared.domain.states import BatchState, State
from shared.error_log import ErrorLog
from shared.ledger.clock import LedgerClock
from shared.ledger.intake import IntakeLedger
from shared.ledger.recovery import RecoveryLedger
from shared.ledger.waiting import when_ledger_answers
from shared.topology import BATCHES, DEFAULT_PROVIDER, Lane, outbound_queue

_PAGE = 1000
_CONFIRM_TIMEOUT_S = 15
_COUNT_LAG_MS = 2000
"""A quorum queue's count may leave out what was published a moment ago."""

Depth = Callable[[str], Awaitable[int | None]]
log = structlog.get_logger()


class QueueWatch:
    """Asks how many messages wait in a queue, and remembers when there were none.

    What was on a queue before it was seen empty is not on it any more: it is in a sender's hands, or nowhere.
    """

    def __init__(self, depth: Depth) -> None:
        self._depth = depth
        self._emptied_at_ms: dict[str, int] = {}

    async def depth(self, queue: str) -> int | None:
        """How many messages wait; None while the broker cannot be asked."""
        asked_at_ms = now_ms()
        depth = await self._depth(queue)
        if depth == 0:
            self._emptied_at_ms[queue] = asked_at_ms - _COUNT_LAG_MS
        return depth

    def emptied_at_ms(self, queue: str) -> int:
        """When the queue was last seen empty; 0 for never."""
        return self._emptied_at_ms.get(queue, 0)


class Recovery:
    """Looks for rows that stand still, and has them fed again or ended."""

    def __init__(
        self,
        ledgers: tuple[RecoveryLedger, IntakeLedger, LedgerClock],
        publisher: Publisher,
        watch: QueueWatch,
        declare: Callable[[], Awaitable[None]],
        timeouts: RecoveryTimeouts,
        dispatcher: str,
        providers: Sequence[str],
    ) -> None:
        self._ledger, self._intake, self._clock = ledgers
        self._publisher, self._watch, self._declare = publisher, watch, declare
        self._timeouts, self._dispatcher = timeouts, dispatcher
        self._providers = dict.fromkeys((DEFAULT_PROVIDER, *providers))
        self._error_log = ErrorLog()

    async def run(self) -> None:
        """Look, and again, until cancelled."""
        while True:
            await asyncio.sleep(self._timeouts.look_every_s)
            await self._clock.right()
            waiting = await self._watch.depth(BATCHES)
            for lane in Lane:
                for provider in self._providers:
                    await self._watch.depth(outbound_queue(lane, provider))
            moved = 0
            for batch in await when_ledger_answers(self._ledger.unsettled):
                moved += await self._recover(batch)
                if batch.unwritten and waiting == 0:
                    await self._give_up_unwritten(batch)
            if moved:
                # A binding that is gone, such as a tier's way back, shows only by what does not come.
                await self._declare()

    async def _recover(self, batch: UnsettledBatch) -> int:
        """Move on what stands still in a batch; how many numbers."""
        now, after_row, moved = now_ms(), -1, 0
        is_cancelled = batch.state is BatchState.CANCELLED
        emptied_at_ms = min(
            self._watch.emptied_at_ms(outbound_queue(batch.lane, provider)) for provider in self._where(batch)
        )
        before_ms = self._timeouts.before_ms(now)
        before_ms = before_ms if is_cancelled else min(before_ms, emptied_at_ms)
        while rows := await self._still(batch, now if is_cancelled else before_ms, after_row):
            after_row = rows[-1].row
            gone = [(row, decide_recovery(row, batch)) for row in rows if self._is_gone(row, batch, before_ms)]
            if gone and not await self._lettered(batch, gone, now):
                break
            moved += await self._moved(batch, gone, now)
        return moved

    def _where(self, batch: UnsettledBatch) -> Collection[str]:
        """The providers in whose queues the batch's messages may be."""
        is_pinned = batch.provider != DEFAULT_PROVIDER and batch.provider in self._providers
        return (DEFAULT_PROVIDER, batch.provider) if is_pinned else self._providers

    async def _still(self, batch: UnsettledBatch, before_ms: int, after_row: int) -> list[StillRow]:
        return await when_ledger_answers(lambda: self._ledger.still(batch, before_ms, after_row, _PAGE))

    def _is_gone(self, row: StillRow, batch: UnsettledBatch, before_ms: int) -> bool:
        # What was cancelled needs no message to end, unless it is in a call.
        if batch.state is BatchState.CANCELLED and row.state is not State.SENDING:
            return True
        return expected_by_ms(row, self._timeouts) < before_ms

    async def _lettered(self, batch: UnsettledBatch, moves: Sequence[tuple[StillRow, Outcome]], now: int) -> bool:
        """Publish the letters that belong to the outcomes, before they are written: a crash in between leaves a letter
        twice, never none. Whether all are safe."""
        letters = [letter for row, outcome in moves if (letter := self._letter(batch, row, outcome, now))]
        if failed := await self._publisher.publish_all(letters, _CONFIRM_TIMEOUT_S):
            log.warning("letters_not_confirmed", messages=len(failed), reason=str(next(iter(failed.values()))))
        return not failed

    async def _moved(self, batch: UnsettledBatch, moves: Sequence[tuple[StillRow, Outcome]], now: int) -> int:
        if not moves:
            return 0
        moved = await when_ledger_answers(lambda: self._ledger.move(batch.batch_id, moves, now))
        if moved:
            states = sorted({outcome.state for _row, outcome in moves})
            log.warning("numbers_recovered", batch_id=batch.batch_id, numbers=moved, now=", ".join(states))
            metrics.RECOVERED.inc(moved)
            for row, outcome in moves:
                self._error_log.note(_ended(batch, row), outcome)
        return moved

    def _letter(self, batch: UnsettledBatch, row: StillRow, outcome: Outcome, now: int) -> Outgoing | None:
        source = Source(self._dispatcher, outbound_queue(batch.lane, row.provider or batch.provider))
        return letter_of(_ended(batch, row), batch.lane, outcome, source, row.first_at_ms, now)

    async def _give_up_unwritten(self, batch: UnsettledBatch) -> None:
        """End a batch whose message is gone although not all of it is in the ledger; should the message turn up after
        all, it goes on (`IntakeLedger.begin`)."""
        now = now_ms()
        if batch.written_at_ms >= self._timeouts.before_ms(now):
            return
        reason = f"The broker lost the batch's message when {batch.unwritten} of its numbers were not yet in the ledger"
        log.error("batch_message_lost", batch_id=batch.batch_id, unwritten=batch.unwritten)
        await when_ledger_answers(lambda: self._intake.give_up(batch.batch_id, "batch_message_lost", reason, now))


def _ended(batch: UnsettledBatch, row: StillRow) -> EndedMessage:
    return EndedMessage(batch.batch_id, row.row, row.recipient, row.provider or batch.provider, row.attempt)
