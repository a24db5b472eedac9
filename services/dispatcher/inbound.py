"""Texts from handsets: who says STOP gets nothing any more, who says START does again, and what reads like a STOP and
is none of the words waits for a person."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from services.dispatcher import metrics
from services.dispatcher.receipts import NOT_STORABLE, UNREADABLE, letter
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.amqp.settle import Settlement, settle
from shared.domain.opt_out import START_WORDS, STOP_WORDS, Wish, wish_of
from shared.domain.phone import mask
from shared.errors import LedgerRefused, UnreadableMessage
from shared.ledger.inbound import InboundLedger, Review
from shared.ledger.suppressions import Source, Suppression, SuppressionLedger
from shared.ledger.waiting import when_ledger_answers
from shared.messages import InboundMessage, InboundText, read_inbound
from shared.providers import Providers

PUSHES_AT_ONCE = 20
"""Unsettled messages of the queue."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Words:
    """By which a text is understood."""

    stop: Collection[str] = STOP_WORDS
    start: Collection[str] = START_WORDS


@dataclass(frozen=True, slots=True)
class Lists:
    """The parts of the ledger that texts change."""

    suppressions: SuppressionLedger
    reviews: InboundLedger


class InboundTaker:
    """Obeys, one push after the other. What comes again changes nothing that was said later."""

    def __init__(self, lists: Lists, publisher: Publisher, providers: Providers, words: Words) -> None:
        self._lists, self._publisher, self._providers, self._words = lists, publisher, providers, words
        self._arrivals: asyncio.Queue[Delivery] = asyncio.Queue()

    def take(self, delivery: Delivery) -> None:
        """Have a push obeyed."""
        self._arrivals.put_nowait(delivery)

    def drop(self) -> None:
        """Forget what is not begun: the broker delivers it again."""
        while not self._arrivals.empty():
            self._arrivals.get_nowait()

    async def run(self) -> None:
        """Obey until cancelled."""
        while True:
            delivery = await self._arrivals.get()
            await settle([await self._obeyed(delivery)], self._publisher)

    async def _obeyed(self, delivery: Delivery) -> Settlement:
        try:
            message = read_inbound(delivery.type, delivery.body)
            # One after the other: a START behind a STOP is the last word.
            for text in message.texts:
                await self._obey(message, text)
        except UnreadableMessage as unreadable:
            return Settlement(delivery, letter(delivery, delivery.body, UNREADABLE, f"No texts: {unreadable}"))
        except LedgerRefused:
            reason = "The ledger does not take a value of these texts"
            return Settlement(delivery, letter(delivery, delivery.body, NOT_STORABLE, reason))
        return Settlement(delivery)

    async def _obey(self, message: InboundMessage, text: InboundText) -> None:
        wish = wish_of(text.text, self._words.stop, self._words.start)
        metrics.INBOUND.labels(message.provider, wish.value).inc()
        known = self._providers.by_name.get(message.provider)
        name = "" if known is None else known.sender_name
        # Its time decides between a STOP and a START that come in another order than they were said, or again.
        said_at_ms = min(message.received_at_ms, text.at_ms or message.received_at_ms)
        if wish is Wish.STOP:
            entry = Suppression(text.sender, name, Source.RECIPIENT, "by a text", said_at_ms)
            await when_ledger_answers(lambda: self._lists.suppressions.add([entry]))
            log.info("recipient_opted_out", provider=message.provider, recipient=mask(text.sender))
        elif wish is Wish.START:
            await when_ledger_answers(lambda: self._lists.suppressions.let_in_again(text.sender, name, said_at_ms))
            log.info("recipient_opted_in", provider=message.provider, recipient=mask(text.sender))
        elif wish is Wish.MAYBE_STOP:
            told = text.sender, name, text.text, message.received_at_ms
            review = Review(message.provider, text.message_id, *told)
            await when_ledger_answers(lambda: self._lists.reviews.add([review]))
