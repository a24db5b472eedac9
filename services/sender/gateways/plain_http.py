"""The default provider: JSON over HTTP, with one text in a POST or with several."""

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from services.sender.classify import CodeTable, classify
from services.sender.classify_results import classify_results
from services.sender.gateways import TextMessage
from services.sender.gateways.posting import Poster
from shared.domain.outcome import CallResult


class PlainHttpGateway:
    """Posts `{"reference", "to", "text"}` and expects a 2xx with `{"message_id"}`.

    With `max_recipients` above 1 it posts `{"messages": [{"reference", "to", "text"}, …]}`, also for a single one, and
    expects a 2xx with `{"results": [{"reference", "message_id"}, {"reference", "code", "message"}, …]}`. Each message
    has its own text, so those with different texts share a call too.
    """

    name = "default"

    def __init__(self, poster: Poster, codes: CodeTable, max_recipients: int) -> None:
        self._poster, self._codes = poster, codes
        self.max_recipients = max_recipients

    async def open(self) -> None:
        """Make the connection pool."""
        await self._poster.open()

    async def close(self) -> None:
        """Close the connection pool."""
        await self._poster.close()

    async def send(self, messages: Sequence[TextMessage]) -> CallResult | Sequence[CallResult]:
        """Call once. Failing to connect is certainly not sent; losing the answer is unclear."""
        contents = [{"reference": message.reference, "to": message.to, "text": message.text} for message in messages]
        is_list = self.max_recipients > 1
        answer = await self._poster.post(orjson.dumps({"messages": contents} if is_list else contents[0]))
        if isinstance(answer, CallResult):
            return answer
        heard, now = (answer.status, answer.headers, answer.body), datetime.now(UTC)
        if is_list:
            return classify_results(*heard, messages, self._codes, now)
        return classify(*heard, self._codes, now, messages)
