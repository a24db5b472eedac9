"""What happens to one batch message: look up the template, write the ledger's rows, ack."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import structlog

from services.dispatcher import metrics
from services.dispatcher.expand import expand, failed_rows, for_all
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.amqp.settle import Settlement, settle
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.domain.follow_ups import Failure, dead_letter
from shared.domain.ids import is_ours
from shared.domain.outgoing import Outgoing
from shared.domain.states import State
from shared.errors import BatchConflict, LedgerRefused, UnreadableMessage
from shared.ledger.intake import IntakeLedger, NewRow, Progress
from shared.ledger.suppressions import EVERY_SENDER
from shared.ledger.templates import TemplateLedger
from shared.ledger.waiting import when_ledger_answers
from shared.messages import BATCH_TYPE, RECIPIENTS_HEADER, BatchMessage, read_batch
from shared.running_tasks import RunningTasks
from shared.topology import DeadLetterKey

_CHUNK_ROWS = 2000
_RIVAL_PAUSE_S = (0.1, 0.5)
_SHUFFLE_S = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ledgers:
    """The parts of the ledger that a batch needs."""

    intake: IntakeLedger
    templates: TemplateLedger


@dataclass(frozen=True, slots=True)
class Rules:
    """How recipients are read: numbers without a plus as of `region` (ISO 3166), and at most so many bytes of texts.

    `sender_name` is whom a batch's texts come from, by the provider that it is pinned to.
    """

    region: str
    most_bytes: int
    sender_name: Callable[[str], str] = lambda _pin: EVERY_SENDER


class BatchHandler:
    """Handles batch messages, each to its settlement; `wrote` is called with a batch's id when it has new rows."""

    def __init__(
        self, ledgers: Ledgers, publisher: Publisher, rules: Rules, dispatcher: str, wrote: Callable[[str], None]
    ) -> None:
        self._ledgers, self._publisher, self._rules = ledgers, publisher, rules
        self._dispatcher, self._wrote = dispatcher, wrote
        self._one_suspect = asyncio.Lock()

    async def handle(self, delivery: Delivery) -> None:
        """Settle one batch message. Cancelled in between, it leaves the message unacked, and the next delivery of it
        goes on where this one stopped."""
        if not delivery.is_suspect:
            return await self._settle(delivery)
        await asyncio.sleep(random.uniform(0, _SHUFFLE_S))  # noqa: S311 - suspects in random order
        async with self._one_suspect:
            await self._settle(delivery)

    async def _settle(self, delivery: Delivery) -> None:
        follow_up = await self._written(delivery)
        crash_at("dispatcher.complete")
        await settle([Settlement(delivery, follow_up)], self._publisher)
        metrics.BATCHES.labels("dead_lettered" if follow_up else "written").inc()

    async def _written(self, delivery: Delivery) -> Outgoing | None:
        """Write the batch; the dead letter where it cannot be sent."""
        if delivery.is_poison:
            reason = f"Its message came back {delivery.returns} times from dispatchers that ended while they had it"
            return await self._refused(delivery, delivery.message_id or "", "crashes_dispatcher", reason)
        crash_at("dispatcher.received", delivery.message_id)
        try:
            batch = read_batch(delivery.type, delivery.body)
        except UnreadableMessage as unreadable:
            return await self._refused(
                delivery, delivery.message_id or "", "unreadable_message", f"Not a message we know: {unreadable}"
            )
        try:
            error = await self._write(batch)
        except BatchConflict as conflict:
            return self._dead_letter(delivery, batch.batch_id, "batch_conflict", str(conflict))
        except LedgerRefused:
            reason = "The ledger does not take a value of this batch"
            return await self._refused(delivery, batch.batch_id, "not_storable", reason)
        return self._dead_letter(delivery, batch.batch_id, *error) if error else None

    async def _content(self, batch: BatchMessage) -> str | None:
        """The template's text, or the batch's own where there is no such template."""
        if batch.template_id is None:
            return batch.content
        template = await self._ledgers.templates.content(batch.template_id)
        return template if template is not None else batch.content or None

    async def _write(self, batch: BatchMessage) -> tuple[str, str] | None:
        """Write every row; the (code, reason) of a batch that cannot be sent as a whole."""
        text = await when_ledger_answers(lambda: self._content(batch))
        content = None if text is None else await asyncio.to_thread(for_all, batch, text)
        error = None if content is not None else _no_text(batch)
        while True:
            progress = await when_ledger_answers(partial(self._ledgers.intake.begin, batch, content, error))
            if progress.content is not None:
                error = None  # begun before with a text, which stays, whatever the template says today
            if await self._write_from(batch, progress, error):
                code = error and error[0]
                log.info("batch_written", batch_id=batch.batch_id, recipients=len(batch.recipients), error=code)
                return error
            # Somebody else wrote these rows: another handler of the same message, or this one in a commit whose answer
            # was lost. Only the ledger knows how far the batch is, and the message is acked when all of it is there.
            await asyncio.sleep(random.uniform(*_RIVAL_PAUSE_S))  # noqa: S311 - keeps two writers apart

    async def _write_from(self, batch: BatchMessage, progress: Progress, error: tuple[str, str] | None) -> bool:
        """Write what is missing; False where somebody else has written meanwhile."""
        rows = self._rows(batch, progress, error)
        await asyncio.to_thread(_skip, rows, progress.rows_written)
        invalid: Counter[str] = Counter()
        # In a thread: numbers of countries without a fast path take a tenth of a millisecond each.
        while chunk := await asyncio.to_thread(_next_chunk, rows):
            if not await self._write_chunk(batch, progress, chunk):
                return False
            crash_at("dispatcher.written")
            progress = progress.after(len(chunk))
            invalid.update(row.error_code or "" for row in chunk if row.state is State.INVALID)
            metrics.ROWS.inc(len(chunk))
            self._wrote(batch.batch_id)
        if invalid:
            log.warning("messages_invalid", batch_id=batch.batch_id, invalid=invalid.total(), codes=dict(invalid))
        return True

    def _rows(self, batch: BatchMessage, progress: Progress, error: tuple[str, str] | None) -> Iterator[NewRow]:
        if error or progress.content is None:
            return failed_rows(batch, *(error or _no_text(batch)))
        return expand(batch, progress.content, self._rules.region, self._rules.most_bytes)

    async def _write_chunk(self, batch: BatchMessage, progress: Progress, chunk: list[NewRow]) -> bool:
        name = self._rules.sender_name(batch.provider)
        write = partial(self._ledgers.intake.write, batch.batch_id, progress, chunk)
        return await when_ledger_answers(lambda: write(now_ms(), name))

    async def _refused(self, delivery: Delivery, batch_id: str, code: str, reason: str) -> Outgoing:
        """The dead letter of a batch whose rows cannot be written; what is known of it can be asked for."""
        if is_ours(batch_id):
            recipients = delivery.count(RECIPIENTS_HEADER)
            give_up = partial(self._ledgers.intake.give_up, batch_id, code, reason, recipients=recipients)
            await when_ledger_answers(lambda: give_up(now_ms=now_ms()))
        return self._dead_letter(delivery, batch_id, code, reason)

    def _dead_letter(self, delivery: Delivery, batch_id: str, code: str, reason: str) -> Outgoing:
        log.warning("batch_dead_lettered", batch_id=batch_id, code=code, reason=reason)
        failure = Failure(code, reason, now_ms(), self._dispatcher, delivery.queue)
        message_type = delivery.type or BATCH_TYPE
        return dead_letter(DeadLetterKey.BATCHES, delivery.body, message_type, batch_id, batch_id, failure)


class BatchTasks:
    """The batch messages in work. When their channel is lost they are dropped: the broker delivers them again."""

    def __init__(self, handler: BatchHandler, tasks: RunningTasks) -> None:
        self._handler, self._tasks = handler, tasks
        self._in_work: set[asyncio.Task[None]] = set()

    def take(self, delivery: Delivery) -> None:
        """Begin with a message."""
        task = self._tasks.begin(self._handler.handle(delivery), f"batch {delivery.message_id}")
        self._in_work.add(task)
        task.add_done_callback(self._in_work.discard)

    def drop(self) -> None:
        """Stop wherever they are; what is written stays."""
        for task in self._in_work:
            task.cancel()


def _no_text(batch: BatchMessage) -> tuple[str, str]:
    if batch.template_id is None:
        return "no_content", "The batch has neither a content nor a template"
    return "template_unknown", f"There is no template {batch.template_id}, and the batch has no content to fall back on"


def _skip(rows: Iterator[NewRow], count: int) -> None:
    for _row in islice(rows, count):
        pass


def _next_chunk(rows: Iterator[NewRow]) -> list[NewRow]:
    return list(islice(rows, _CHUNK_ROWS))
