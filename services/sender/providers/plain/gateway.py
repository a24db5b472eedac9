"""The default provider: JSON over HTTP, with one text in a POST or with several."""

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from services.sender.providers.gateway import TextMessage
from services.sender.providers.plain.classify import CodeTable, classify
from services.sender.providers.plain.classify_results import classify_results
from services.sender.transports import HttpRequest, HttpTransport
from shared.domain.outcome import CallResult, Verdict

_HEADERS = (("Content-Type", "application/json"),)
_ABOUT_ALL = frozenset({404, 405, 415})
"""About the address or the format, whatever the messages are."""


class PlainHttpGateway:
    """Posts `{"reference", "to", "text"}` and expects a 2xx with `{"message_id"}`.

    With `max_recipients` above 1 it posts `{"messages": [{"reference", "to", "text"}, …]}`, also for a single one, and
    expects a 2xx with `{"results": [{"reference", "message_id"}, {"reference", "code", "message"}, …]}`. Each message
    has its own text, so those with different texts share a call too.
    """

    name = "default"

    def __init__(self, transport: HttpTransport, url: str, codes: CodeTable, max_recipients: int) -> None:
        self._transport, self._url, self._codes = transport, url, codes
        self.max_recipients = max_recipients

    async def open(self) -> None:
        """Make the connection pool."""
        await self._transport.open()

    async def close(self) -> None:
        """Close the connection pool."""
        await self._transport.close()

    async def send(self, messages: Sequence[TextMessage]) -> CallResult | Sequence[CallResult]:
        """Call once. Failing to connect is certainly not sent; losing the answer is unclear."""
        contents = [{"reference": message.reference, "to": message.to, "text": message.text} for message in messages]
        is_list = self.max_recipients > 1
        body = orjson.dumps({"messages": contents} if is_list else contents[0])
        answer = await self._transport.send(HttpRequest("POST", self._url, _HEADERS, body))
        if isinstance(answer, CallResult):
            return answer
        heard, now = (answer.status, answer.headers, answer.body), datetime.now(UTC)
        if is_list:
            return classify_results(*heard, messages, self._codes, now)
        return classify(*heard, self._codes, now, messages)

    def may_be_of_one(self, whole: CallResult) -> bool:
        """As `Gateway.may_be_of_one`."""
        return whole.verdict is Verdict.REFUSED and whole.status not in _ABOUT_ALL
