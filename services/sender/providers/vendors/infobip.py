"""Infobip's SMS API: `POST /sms/3/messages`, many messages in a call, a status for each; pure.

It takes a `messageId` once, also one that it rejected: each attempt has its own, our reference and the attempt.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from services.sender.providers.gateway import AnyTexts, Results, TextMessage
from services.sender.providers.vendors.reading import ABOUT_ALL, Answered, last_segment, read_answer, unexpected
from services.sender.transports import HttpAnswer, HttpRequest
from shared.domain.answers import AnswerClass
from shared.domain.outcome import CallResult, Verdict
from shared.domain.receipts import one_reference

_ACCEPTED_GROUPS = frozenset({1, 3})
"""PENDING and DELIVERED: the message is on its way."""

STATUSES: Mapping[int, AnswerClass] = {
    **dict.fromkeys((4, 8, 9, 10, 14, 51, 52), AnswerClass.NUMBER),
    **dict.fromkeys((6, 11, 13, 24, 25, 87), AnswerClass.CONTENT),
    **dict.fromkeys((12, 17, 18, 19), AnswerClass.ACCOUNT),
    20: AnswerClass.THROTTLED_NUMBER,
    **dict.fromkeys((21, 23, 29, 31, 100), AnswerClass.UNCLEAR),
}
"""https://www.infobip.com/docs/essentials/response-status-and-error-codes. A system error, or an id that was taken
before, may have been sent."""


class InfobipFormat(AnyTexts):
    """`endpoint` is the account's own base URL."""

    def __init__(self, api_key: str, sender: str, endpoint: str, callback: str | None = None) -> None:
        """`callback` is where receipts are taken."""
        delivery = {"url": callback, "intermediateReport": False}
        receipts = {"webhooks": {"delivery": delivery, "contentType": "application/json"}}
        self._receipts = {} if callback is None else receipts
        self._url, self._sender = f"{endpoint.rstrip('/')}/sms/3/messages", sender
        self._secrets = (api_key, *last_segment(callback))
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
                    "destinations": [{"to": message.to.removeprefix("+"), "messageId": _message_id(message)}],
                    "content": {"text": message.text},
                    **self._receipts,
                }
                for message in messages
            ]
        }
        return HttpRequest("POST", self._url, self._headers, orjson.dumps(body))

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """As `Format.results`: each message by its id."""
        answered = read_answer(answer, messages, now, self._secrets)
        entries = answered.content.get("messages")
        if not 200 <= answer.status < 300:
            if isinstance(entries, list) and any(_group(entry) in _ACCEPTED_GROUPS for entry in entries):
                return unexpected(answer.status, "with accepted messages in it")
            return answered.refused(None, answered.content.get("errorCode"), answered.content.get("description"))
        if not isinstance(entries, list):
            return unexpected(answer.status, "without a list of messages")
        found: dict[object, list[Mapping[str, Any]]] = {}
        for entry in entries:
            if isinstance(entry, dict) and isinstance(entry.get("messageId"), str):
                found.setdefault(entry["messageId"], []).append(entry)
        return [_result(answered, found.get(_message_id(message), []), message) for message in messages]

    def may_be_of_one(self, whole: CallResult) -> bool:
        """As `Format.may_be_of_one`: a 400 may be because of one message in it."""
        return whole.verdict is Verdict.REFUSED and whole.status not in ABOUT_ALL


def _result(answered: Answered, entries: Sequence[Mapping[str, Any]], message: TextMessage) -> CallResult:
    status = entries[0].get("status") if len(entries) == 1 else None
    if not isinstance(status, dict):
        return unexpected(answered.status, "without one clear status for this message")
    id_, words = status.get("id"), status.get("description") or status.get("name")
    known = STATUSES.get(id_) if isinstance(id_, int) else None
    if _group(entries[0]) in _ACCEPTED_GROUPS:
        if known is not None:
            return unexpected(answered.status, "with a status that contradicts itself")
        return answered.accepted(_message_id(message)) or unexpected(answered.status, "without an id")
    return answered.refused(known or AnswerClass.UNCLEAR, id_, words)


def _message_id(message: TextMessage) -> str:
    return one_reference(message.reference, message.attempt)


def _group(entry: Any) -> int | None:
    status = entry.get("status") if isinstance(entry, dict) else None
    group = status.get("groupId") if isinstance(status, dict) else None
    return group if type(group) is int else None
