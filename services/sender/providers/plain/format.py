"""The plain format: JSON over HTTP, with one text in a POST or with several; pure."""

from collections.abc import Sequence
from datetime import datetime

import orjson

from services.sender.providers.gateway import AnyTexts, Results, TextMessage
from services.sender.providers.plain.classify import CodeTable, classify
from services.sender.providers.plain.classify_results import classify_results
from services.sender.transports import HttpAnswer, HttpRequest
from shared.domain.outcome import CallResult, Verdict

_HEADERS = (("Content-Type", "application/json"),)
_ABOUT_ALL = frozenset({404, 405, 415})
"""About the address or the format, whatever the messages are."""


class PlainFormat(AnyTexts):
    """Posts `{"reference", "to", "text"}` and expects a 2xx with `{"message_id"}`.

    With `is_list` it posts `{"messages": [{"reference", "to", "text"}, …]}`, also for a single one, and expects a 2xx
    with `{"results": [{"reference", "message_id"}, {"reference", "code", "message"}, …]}`. Each message has its own
    text, so those with different texts share a call too.
    """

    def __init__(self, url: str, codes: CodeTable, *, is_list: bool) -> None:
        self._url, self._codes, self._is_list = url, codes, is_list

    def request(self, messages: Sequence[TextMessage], now: datetime) -> HttpRequest:
        """As `Format.request`."""
        contents = [{"reference": message.reference, "to": message.to, "text": message.text} for message in messages]
        body = orjson.dumps({"messages": contents} if self._is_list else contents[0])
        return HttpRequest("POST", self._url, _HEADERS, body)

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """As `Format.results`."""
        heard = answer.status, answer.headers, answer.body
        if self._is_list:
            return classify_results(*heard, messages, self._codes, now)
        return classify(*heard, self._codes, now, messages)

    def may_be_of_one(self, whole: CallResult) -> bool:
        """As `Format.may_be_of_one`."""
        return whole.verdict is Verdict.REFUSED and whole.status not in _ABOUT_ALL
