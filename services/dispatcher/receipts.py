"""Receipts from the broker to the ledger: many pushes in one transaction, acked when it is committed."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from services.dispatcher import metrics
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.amqp.settle import Settlement, settle
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.domain.outgoing import Outgoing
from shared.domain.receipts import Receipt
from shared.domain.times import rfc3339
from shared.errors import LedgerRefused, UnreadableMessage
from shared.ledger.receipts import Fate, ReceiptsLedger
from shared.ledger.waiting import when_ledger_answers
from shared.messages import RECEIPTS_TYPE, ReceiptsMessage, WireReceipt, read_receipts
from shared.micro_batch import next_batch
from shared.topology import DEAD_LETTER, RECEIPTS, RECEIPTS_LATER_QUEUE, DeadLetterKey

PUSHES_AT_ONCE = 100
"""Unsettled messages of the queue; most have up to a hundred receipts."""
_MOST, _LINGER_S = 20, 0.01
_MOST_RECEIPTS = 2000
"""In one transaction."""
_NOTED_WITHIN_MS = 5 * 60_000
"""How long a provider's id may be unknown, from the first look on: a sender notes it when it has the answer."""
_NO_SUCH_MESSAGE, UNREADABLE, NOT_STORABLE = "no_such_message", "unreadable_message", "not_storable"

log = structlog.get_logger()


class _Push(NamedTuple):
    """A message of the queue, and what is in it."""

    delivery: Delivery
    message: ReceiptsMessage
    receipts: Sequence[Receipt]


@dataclass(frozen=True, slots=True)
class Leftover:
    """Of a push, what no number was found for, and whether it is looked at again."""

    receipts: Sequence[WireReceipt]
    is_early: bool


class ReceiptTaker:
    """Settles numbers by what providers tell. When the channel is lost, all that is not acked comes again, and by then
    says nothing new."""

    def __init__(self, ledger: ReceiptsLedger, publisher: Publisher, notes_ids: Callable[[str], bool]) -> None:
        """`notes_ids`: whether senders note the ids of a provider."""
        self._ledger, self._publisher, self._notes_ids = ledger, publisher, notes_ids
        self._arrivals: asyncio.Queue[Delivery] = asyncio.Queue()

    def take(self, delivery: Delivery) -> None:
        """Have a push settled."""
        self._arrivals.put_nowait(delivery)

    def drop(self) -> None:
        """Forget what is not begun: the broker delivers it again."""
        while not self._arrivals.empty():
            self._arrivals.get_nowait()

    async def run(self) -> None:
        """Settle pushes until cancelled."""
        while True:
            await self._settle(await next_batch(self._arrivals, _MOST, _LINGER_S))

    async def _settle(self, deliveries: Sequence[Delivery]) -> None:
        settlements: list[Settlement] = []
        pushes: list[_Push] = []
        for delivery in deliveries:
            try:
                message = read_receipts(delivery.type, delivery.body)
            except UnreadableMessage as unreadable:
                settlements.append(self._given_up(delivery, UNREADABLE, f"Not receipts: {unreadable}"))
            else:
                pushes.append(_Push(delivery, message, [each.read(message.provider) for each in message.receipts]))
        for part in _in_parts(pushes):
            settlements += await self._write(part)
        crash_at("dispatcher.receipts_written")
        await settle(settlements, self._publisher)

    async def _write(self, pushes: Sequence[_Push]) -> Sequence[Settlement]:
        receipts = [receipt for push in pushes for receipt in push.receipts]
        now = now_ms()
        try:
            fates = iter(await when_ledger_answers(lambda: self._ledger.settle(receipts, now)))
        except LedgerRefused:
            if len(pushes) > 1:
                return [settlement for push in pushes for settlement in await self._write([push])]
            reason = "The ledger does not take a value of these receipts"
            return [self._given_up(pushes[0].delivery, NOT_STORABLE, reason)]
        return [self._written(push, [next(fates) for _ in push.receipts], now) for push in pushes]

    def _written(self, push: _Push, fates: Sequence[Fate], now: int) -> Settlement:
        for fate, number in Counter(fates).items():
            metrics.RECEIPTS.labels(push.message.provider, fate.name.lower()).inc(number)
        may_be_noted = self._notes_ids(push.message.provider)
        leftover = left_over(push.message, push.receipts, fates, now, may_be_noted=may_be_noted)
        if not leftover.receipts:
            return Settlement(push.delivery)
        if leftover.is_early:
            return Settlement(push.delivery, _later(push, leftover.receipts, now))
        log.warning("receipts_unmatched", provider=push.message.provider, receipts=len(leftover.receipts))
        reason = "The ledger has no such message of this provider"
        body = _body(push.message, leftover.receipts)
        return Settlement(push.delivery, letter(push.delivery, body, _NO_SUCH_MESSAGE, reason, push.message))

    def _given_up(self, delivery: Delivery, code: str, reason: str) -> Settlement:
        log.warning("receipts_given_up", code=code, reason=reason)
        return Settlement(delivery, letter(delivery, delivery.body, code, reason))


def left_over(
    message: ReceiptsMessage, receipts: Sequence[Receipt], fates: Sequence[Fate], now_ms: int, *, may_be_noted: bool
) -> Leftover:
    """What of a push found no number, or not yet. What is not early waits with what is, and is told by its next look.

    Early is what has a row whose attempt is not recorded, for as long as that takes; and for a while a provider's id
    where senders note such (`may_be_noted`).
    """
    left = [position for position, fate in enumerate(fates) if fate in (Fate.EARLY, Fate.UNMATCHED)]
    first_look_ms = now_ms if message.first_look_at_ms is None else message.first_look_at_ms
    may_be_noted = may_be_noted and now_ms - first_look_ms < _NOTED_WITHIN_MS
    is_early = any(fates[each] is Fate.EARLY or (may_be_noted and receipts[each].reference is None) for each in left)
    return Leftover([message.receipts[each] for each in left], is_early)


def _in_parts(pushes: Iterable[_Push]) -> Iterator[Sequence[_Push]]:
    """Whole pushes together, as many as have no more receipts than a transaction should; one that has is alone."""
    part: list[_Push] = []
    receipts = 0
    for push in pushes:
        if part and receipts + len(push.receipts) > _MOST_RECEIPTS:
            yield part
            part, receipts = [], 0
        part.append(push)
        receipts += len(push.receipts)
    if part:
        yield part


def _body(message: ReceiptsMessage, receipts: Sequence[WireReceipt], now: int | None = None) -> bytes:
    first_look_at_ms = now if message.first_look_at_ms is None else message.first_look_at_ms
    left = {"receipts": list(receipts), "first_look_at_ms": first_look_at_ms}
    return message.model_copy(update=left).model_dump_json(exclude_none=True).encode()


def _later(push: _Push, receipts: Sequence[WireReceipt], now: int) -> Outgoing:
    return Outgoing(
        exchange=RECEIPTS,
        routing_key=RECEIPTS_LATER_QUEUE,
        body=_body(push.message, receipts, now),
        type=RECEIPTS_TYPE,
        message_id=push.delivery.message_id or "",
        correlation_id="",
        timestamp_s=now // 1000,
    )


def letter(delivery: Delivery, body: bytes, code: str, reason: str, message: ReceiptsMessage | None = None) -> Outgoing:
    """What an operator finds with the unmatched receipts."""
    now = now_ms()
    headers: dict[str, str | int] = {"x-error-code": code, "x-error-reason": reason, "x-failed-at": rfc3339(now)}
    if message is not None:
        headers |= {"x-provider": message.provider, "x-received-at": rfc3339(message.received_at_ms)}
    return Outgoing(
        exchange=DEAD_LETTER,
        routing_key=DeadLetterKey.RECEIPTS,
        body=body,
        type=delivery.type or RECEIPTS_TYPE,
        message_id=delivery.message_id or "",
        correlation_id="",
        timestamp_s=now // 1000,
        headers=headers,
    )
