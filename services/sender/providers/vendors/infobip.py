"""Infobip's SMS API: `POST /sms/3/messages`, many messages in a call, a status for each; pure.

Our reference is its `messageId`. It takes an id once: a repeated one is answered with status 23, which does not say
what became of the first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from services.sender.providers.gateway import Results, TextMessage
from services.sender.providers.vendors.reading import Answered, read_answer, unexpected
from services.sender.transports import HttpAnswer, HttpRequest
from shared.domain.answers import AnswerClass
from shared.domain.outcome import CallResult, Verdict

MOST_MESSAGES = 100
_ACCEPTED_GROUPS = frozenset({1, 3})
"""PENDING and DELIVERED: the message is on its way."""
_ABOUT_ALL = frozenset({404, 405, 415})

STATUSES: Mapping[int, AnswerClass] = {
    **dict.fromkeys((4, 8, 9, 10, 14, 51, 52), AnswerClass.NUMBER),
    **dict.fromkeys((6, 11, 13, 24, 25, 87), AnswerClass.CONTENT),
    **dict.fromkeys((12, 17, 18, 19), AnswerClass.ACCOUNT),
    20: AnswerClass.THROTTLED_NUMBER,
    **dict.fromkeys((21, 23, 29, 31, 100), AnswerClass.UNCLEAR),
}
"""https://www.infobip.com/docs/essentials/response-status-and-error-codes. A system error, or an id that was taken
before, may have been sent."""


class InfobipFormat:
    """`endpoint` is the account's own base URL."""

    def __init__(self, api_key: str, sender: str, endpoint: str) -> None:
        self._url, self._sender = f"{endpoint.rstrip('/')}/sms/3/messages", sender
        self._headers = (
            ("Accept", "application/json"),
            ("Authorization", f"App {api_key}"),
            ("Content-Type", "application/json"),
        )

    def request(self, messages: Sequence[TextMessage], now: datetime) -> HttpRequest:
        """As `Format.request`: each message with its own text."""
        body = {
            "messages": [
                {
                    "sender": self._sender,
                    "destinations": [{"to": message.to.removeprefix("+"), "messageId": message.reference}],
                    "content": {"text": message.text},
                }
                for message in messages
            ]
        }
        return HttpRequest("POST", self._url, self._headers, orjson.dumps(body))

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """As `Format.results`: each message by its id."""
        answered = read_answer(answer, messages, now)
        if not 200 <= answer.status < 300:
            content = answered.content
            return answered.refused(None, content.get("errorCode"), content.get("description"))
        entries = answered.content.get("messages")
        if not isinstance(entries, list):
            return unexpected(answer.status, "without a list of messages")
        found: dict[object, list[Mapping[str, Any]]] = {}
        for entry in entries:
            if isinstance(entry, dict) and isinstance(entry.get("messageId"), str):
                found.setdefault(entry["messageId"], []).append(entry)
        return [_result(answered, found.get(message.reference, []), message) for message in messages]

    def may_be_of_one(self, whole: CallResult) -> bool:
        """As `Format.may_be_of_one`: a 400 may be because of one message in it."""
        return whole.verdict is Verdict.REFUSED and whole.status not in _ABOUT_ALL


def _result(answered: Answered, entries: Sequence[Mapping[str, Any]], message: TextMessage) -> CallResult:
    status = entries[0].get("status") if len(entries) == 1 else None
    if not isinstance(status, dict):
        return unexpected(answered.status, "without one clear status for this message")
    if status.get("groupId") in _ACCEPTED_GROUPS:
        return answered.accepted(message.reference) or unexpected(answered.status, "without an id")
    id_, words = status.get("id"), status.get("description") or status.get("name")
    known = STATUSES.get(id_, AnswerClass.UNCLEAR) if isinstance(id_, int) else AnswerClass.UNCLEAR
    return answered.refused(known, id_, words)
