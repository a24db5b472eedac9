"""The default provider: one JSON POST per text."""

from datetime import UTC, datetime
from functools import partial

import orjson

from services.sender.classify import CodeTable, classify, scrub
from services.sender.gateways import TextMessage
from services.sender.gateways.posting import Poster
from shared.outcome import CallResult


class PlainHttpGateway:
    """Posts `{"reference", "to", "text"}` and expects a 2xx with `{"message_id"}`."""

    name = "default"

    def __init__(self, poster: Poster, codes: CodeTable) -> None:
        self._poster, self._codes = poster, codes

    async def open(self) -> None:
        """Make the connection pool."""
        await self._poster.open()

    async def close(self) -> None:
        """Close the connection pool."""
        await self._poster.close()

    async def send(self, message: TextMessage) -> CallResult:
        """Call once. Failing to connect is certainly not sent; losing the answer is unclear."""
        body = orjson.dumps({"reference": message.reference, "to": message.to, "text": message.text})
        answer = await self._poster.post(body)
        if isinstance(answer, CallResult):
            return answer
        conceal = partial(scrub, recipient=message.to, text=message.text)
        return classify(answer.status, answer.headers, answer.body, self._codes, datetime.now(UTC), conceal)
