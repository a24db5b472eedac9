"""A batch message is acked only when every one of its rows is in the ledger, whoever wrote them."""

import asyncio
from collections.abc import Sequence

from services.dispatcher.handler import BatchHandler, Ledgers, Rules
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.clock import now_ms
from shared.errors import LedgerUnavailable
from shared.ids import new_batch_id
from shared.ledger.database import Database
from shared.ledger.intake import IntakeLedger, NewRow, Progress
from shared.ledger.reading import ReadingLedger
from shared.ledger.templates import TemplateLedger
from shared.messages import BATCH_TYPE, BatchMessage

RECIPIENTS = 3500


class LosesAnswers(IntakeLedger):
    """Commits the second chunk, and loses the answer."""

    writes = 0

    async def write(
        self, batch_id: str, progress: Progress, rows: Sequence[NewRow], now_ms: int, sender_name: str = ""
    ) -> bool:
        written = await super().write(batch_id, progress, rows, now_ms, sender_name)
        self.writes += 1
        if self.writes == 2:
            raise LedgerUnavailable("the answer was lost")
        return written


class DiesInTheMiddle(IntakeLedger):
    """Writes one chunk, then stands still."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.wrote_one = asyncio.Event()

    async def write(
        self, batch_id: str, progress: Progress, rows: Sequence[NewRow], now_ms: int, sender_name: str = ""
    ) -> bool:
        if self.wrote_one.is_set():
            await asyncio.Event().wait()
        written = await super().write(batch_id, progress, rows, now_ms, sender_name)
        self.wrote_one.set()
        return written


def a_batch() -> BatchMessage:
    numbers = [f"+86138{row:08d}" for row in range(RECIPIENTS)]
    return BatchMessage(
        batch_id=new_batch_id(now_ms()), fingerprint="f", accepted_at_ms=now_ms(), recipients=numbers, content="text"
    )


async def nothing() -> None:
    """No preparation."""


def handler(database: Database, intake: IntakeLedger) -> BatchHandler:
    # Nothing is published for a batch that can be sent, so the publisher needs no broker.
    publisher = Publisher("amqp://127.0.0.1:1/", "test", "test", nothing)
    ledgers = Ledgers(intake, TemplateLedger(database))
    return BatchHandler(ledgers, publisher, Rules("CN", 1_000_000), "test", lambda _batch_id: None)


def delivery(batch: BatchMessage, acked: list[str], name: str) -> Delivery:
    body = batch.model_dump_json().encode()
    return Delivery(body, BATCH_TYPE, batch.batch_id, "sms.batches", lambda: acked.append(name))


async def rows_of(database: Database, batch: BatchMessage) -> int:
    return len(await ReadingLedger(database).messages(batch.batch_id, 100_000))


async def test_a_commit_whose_answer_is_lost_leaves_no_row_unwritten(database: Database) -> None:
    batch, acked = a_batch(), list[str]()
    async with asyncio.timeout(30):
        await handler(database, LosesAnswers(database)).handle(delivery(batch, acked, "first"))
    assert acked == ["first"]
    assert await rows_of(database, batch) == RECIPIENTS


async def test_a_handler_that_dies_beside_another_leaves_no_row_unwritten(database: Database) -> None:
    batch, acked = a_batch(), list[str]()
    dying = DiesInTheMiddle(database)
    first = asyncio.create_task(handler(database, dying).handle(delivery(batch, acked, "first")))
    async with asyncio.timeout(30):
        await dying.wrote_one.wait()
        await handler(database, IntakeLedger(database)).handle(delivery(batch, acked, "second"))
    first.cancel()
    assert acked == ["second"]
    assert await rows_of(database, batch) == RECIPIENTS


async def test_two_handlers_of_one_message_write_every_row_once(database: Database) -> None:
    batch, acked = a_batch(), list[str]()
    handlers = [handler(database, IntakeLedger(database)) for _ in range(2)]
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(one.handle(delivery(batch, acked, name)) for one, name in zip(handlers, "ab", strict=True))
        )
    assert sorted(acked) == ["a", "b"]
    assert await rows_of(database, batch) == RECIPIENTS
