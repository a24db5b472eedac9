"""Ending rows that are not to be published: no provider serves them, or the one that may have sent them is gone."""

from collections.abc import Sequence

from shared.amqp.publisher import Publisher
from shared.clock import now_ms
from shared.domain.follow_ups import Source, letter_of
from shared.domain.message import EndedMessage
from shared.domain.outcome import Outcome, keep_if_maybe_sent
from shared.error_log import ErrorLog
from shared.ledger.feeding import FeedingLedger, PendingRow, RunningBatch
from shared.ledger.waiting import when_ledger_answers
from shared.topology import outbound_queue

CONFIRM_TIMEOUT_S = 15


class Ending:
    """Ends rows, each with its dead letter and a line of the error log."""

    def __init__(self, ledger: FeedingLedger, publisher: Publisher, dispatcher: str) -> None:
        self._ledger, self._publisher, self._dispatcher = ledger, publisher, dispatcher
        self._error_log = ErrorLog()

    async def end(self, batch: RunningBatch, rows: Sequence[PendingRow], outcome: Outcome) -> None:
        """End pending rows of a batch; what may have been sent ends as unclear. Where a letter is not confirmed, all of
        them stay pending."""
        now = now_ms()
        outcomes = [(row, keep_if_maybe_sent(outcome, was_unclear=row.may_be_at is not None)) for row in rows]
        ended = [
            (EndedMessage(batch.batch_id, row.row, row.recipient, row.may_be_at or batch.pin, row.attempt), its)
            for row, its in outcomes
        ]
        source = Source(self._dispatcher, outbound_queue(batch.lane))
        letters = [letter_of(message, batch.lane, its, source, None, now) for message, its in ended]
        # Before the rows end: a crash in between leaves a letter twice, never none.
        if await self._publisher.publish_all([letter for letter in letters if letter], CONFIRM_TIMEOUT_S):
            return
        await when_ledger_answers(lambda: self._ledger.refuse(batch.batch_id, outcomes, now))
        for message, its in ended:
            self._error_log.note(message, its)
