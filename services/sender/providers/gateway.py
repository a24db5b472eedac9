"""Gateways: how one provider is called. Each takes texts and returns what is known after the call."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from types import MappingProxyType
from typing import NamedTuple, Protocol

import structlog

from services.sender.transports import HttpAnswer, HttpRequest, HttpTransport
from shared.domain.outcome import CallResult, Verdict
from shared.domain.receipts import MOST_OF_A_CALL

log = structlog.get_logger()

Results = CallResult | Sequence[CallResult]
"""One result says what became of a call as a whole, and so of every message in it; several are for one message each, in
the order of the messages."""


class TextMessage(NamedTuple):
    """One text to send: our reference `<batch_id>:<row>`, the number in E.164, the text, which attempt.

    `template_id` is ours, where the batch names one, and `variables` what fills it, for vendors that take no text.
    """

    reference: str
    to: str
    text: str
    attempt: int = 1
    template_id: int | None = None
    variables: Mapping[str, str] = MappingProxyType({})


def place_of(message: TextMessage) -> tuple[str, int]:
    """The batch that a message is of, and which thousand of its rows: one word of ours can stand for no more."""
    batch_id, _, row = message.reference.partition(":")
    return batch_id, int(row) // MOST_OF_A_CALL


class Gateway(Protocol):
    """One provider. `send` makes one call and raises nothing: whatever happens is a verdict."""

    name: str
    max_recipients: int
    """How many messages, each to its own number, one call takes."""
    may_need_a_call_each: bool
    """Whether messages of one batch may have different keys."""

    async def open(self) -> None:
        """Make ready to call."""

    def share_key(self, message: TextMessage) -> Hashable:
        """Only messages with the same key may be in one call."""

    def unsendable(self, messages: Sequence[TextMessage]) -> CallResult | None:
        """The refusal of messages of which one cannot be sent at all, or that cannot share a call (any more); nobody
        was called, so it says nothing of the provider."""

    async def send(self, messages: Sequence[TextMessage]) -> Results:
        """Call the provider once, with one to `max_recipients` messages of one key; never retries by itself."""

    def may_be_of_one(self, whole: CallResult) -> bool:
        """Whether a call was refused as a whole, so that none of its messages was taken, perhaps because of a single
        one."""

    async def close(self) -> None:
        """Close the connections."""


class Format(Protocol):
    """How providers of one type are spoken to over HTTP; pure."""

    may_need_a_call_each: bool
    """As `Gateway.may_need_a_call_each`."""
    can_send_any: bool
    """Whether `unsendable` is None for every message."""

    def share_key(self, message: TextMessage) -> Hashable:
        """As `Gateway.share_key`."""

    def unsendable(self, message: TextMessage) -> CallResult | None:
        """The refusal of a message that no request can be made of; None for any other."""

    def request(self, messages: Sequence[TextMessage], now: datetime) -> HttpRequest:
        """The request that sends these messages, of one `share_key`; ValueError for what may not share one."""

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """What the answer to it means."""

    def may_be_of_one(self, whole: CallResult) -> bool:
        """As `Gateway.may_be_of_one`; of a refusal of `unsendable` too."""


class AnyTexts:
    """Of formats that send each message's own text: any may share a call, and any can be sent."""

    may_need_a_call_each, can_send_any = False, True

    def share_key(self, _message: TextMessage) -> Hashable:
        """As `Format.share_key`: one for all."""
        return None

    def unsendable(self, _message: TextMessage) -> CallResult | None:
        """As `Format.unsendable`: none is."""
        return None


class HttpGateway:
    """A provider that is called over HTTP: a format for what is said, a transport for how it gets there.

    Of a pause that the provider asks for, `longest_pause_s` is kept at the most.
    """

    def __init__(
        self,
        name: str,
        format_: Format,
        transport: HttpTransport,
        max_recipients: int = 1,
        longest_pause_s: float = inf,
    ) -> None:
        self.name, self.max_recipients = name, max_recipients
        self._format, self._transport, self._longest_pause_s = format_, transport, longest_pause_s
        self.share_key, self.may_be_of_one = format_.share_key, format_.may_be_of_one
        self.may_need_a_call_each = format_.may_need_a_call_each
        self._can_send_any = format_.can_send_any

    async def open(self) -> None:
        """Make ready to call."""
        await self._transport.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    def unsendable(self, messages: Sequence[TextMessage]) -> CallResult | None:
        """As `Gateway.unsendable`."""
        if self._can_send_any:  # asked twice for each message
            return None
        refusal = next(filter(None, map(self._format.unsendable, messages)), None)
        if refusal is None and len(messages) > 1 and len(set(map(self.share_key, messages))) > 1:
            # They were put together by other templates than these: the file was read again meanwhile.
            return _NOT_TOGETHER
        return refusal

    async def send(self, messages: Sequence[TextMessage]) -> Results:
        """Call once. Failing to connect is certainly not sent; losing the answer is unclear.

        Messages with one among them that cannot be sent are refused as a whole, without a call.
        """
        if (refusal := self.unsendable(messages)) is not None:
            return refusal
        answer = await self._transport.send(self._format.request(messages, datetime.now(UTC)))
        if isinstance(answer, CallResult):
            return answer
        try:
            results = self._format.results(answer, messages, datetime.now(UTC))
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            # A defect: but what it leaves open is this call, and not the sender.
            log.error("answer_not_read", provider=self.name, status=answer.status, error=type(error).__name__)
            reason = f"The provider answered HTTP {answer.status} with what we cannot read: it may have sent the text"
            return CallResult(Verdict.UNCLEAR, "answer_not_understood", reason, answer.status)
        return self._cut(results) if isinstance(results, CallResult) else [self._cut(result) for result in results]

    def _cut(self, result: CallResult) -> CallResult:
        if result.retry_after_s is None or result.retry_after_s <= self._longest_pause_s:
            return result
        return result._replace(retry_after_s=self._longest_pause_s)


_NOT_TOGETHER = CallResult(Verdict.PUT_OFF, "file_read_again", "The templates changed just before the call", None)
