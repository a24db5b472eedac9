"""Vonage's SMS API: `POST /sms/json`, one message in a call, an entry in the answer for each part of it; pure.

Vonage answers 200 to nearly everything: what it did is in each entry's `status`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from services.sender.providers.gateway import AnyTexts, Results, TextMessage
from services.sender.providers.vendors.reading import Answered, basic, last_segment, read_answer, unexpected
from services.sender.transports import HttpAnswer, HttpRequest
from shared.domain.answers import AnswerClass
from shared.domain.outcome import CallResult
from shared.domain.receipts import one_reference
from shared.domain.segments import Encoding, count_segments
from shared.signatures import VonageSigning

ENDPOINT = "https://rest.nexmo.com"
_OK = "0"
_WAIT = re.compile(r"\[\s*(\d{1,7})\s*\]")
"""Of "Throughput Rate Exceeded - please wait [ 250 ] and retry": milliseconds."""

CODES: Mapping[str, AnswerClass] = {
    **dict.fromkeys(("1", "10"), AnswerClass.THROTTLED),
    **dict.fromkeys(("2", "3", "12", "15", "22", "23", "32"), AnswerClass.CONTENT),
    **dict.fromkeys(("4", "8", "9", "11", "14", "29"), AnswerClass.ACCOUNT),
    "5": AnswerClass.UNCLEAR,
    **dict.fromkeys(("6", "7", "33"), AnswerClass.NUMBER),
}
"""https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms. 5 is an internal error: it may have been
sent."""


class VonageFormat(AnyTexts):
    """`sender` is a number or an alphanumeric sender; `secret` the account's, or how it signs instead."""

    def __init__(
        self,
        api_key: str,
        secret: str | VonageSigning,
        sender: str,
        endpoint: str = ENDPOINT,
        callback: str | None = None,
    ) -> None:
        """`callback` is where receipts are taken."""
        self._callback = {} if callback is None else {"callback": callback}
        self._url, self._sender, self._key = f"{endpoint.rstrip('/')}/sms/json", sender, api_key
        self._headers: tuple[tuple[str, str], ...] = (
            ("Accept", "application/json"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        )
        self._signing = secret if isinstance(secret, VonageSigning) else None
        self._secrets: tuple[str, ...]
        if isinstance(secret, VonageSigning):
            self._secrets = (secret.secret, *last_segment(callback))
        else:
            self._secrets = (secret, basic(api_key, secret).removeprefix("Basic "), *last_segment(callback))
            self._headers += (("Authorization", basic(api_key, secret)),)

    def request(self, messages: Sequence[TextMessage], now: datetime) -> HttpRequest:
        """As `Format.request`."""
        (message,) = messages
        fields = {
            "to": message.to.removeprefix("+"),
            "from": self._sender,
            "text": message.text,
            "client-ref": one_reference(message.reference, message.attempt),
            **self._callback,
            "type": "text" if count_segments(message.text).encoding is Encoding.GSM_7 else "unicode",
        }
        if self._signing is not None:
            fields |= {"api_key": self._key, "timestamp": str(int(now.timestamp()))}
            fields["sig"] = self._signing.of(fields)
        return HttpRequest("POST", self._url, self._headers, urlencode(fields).encode())

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """As `Format.results`: accepted where every part is; where some are, nobody can tell what arrived."""
        answered = read_answer(answer, messages, now, self._secrets)
        parts = answered.content.get("messages")
        is_ok = 200 <= answer.status < 300
        if not isinstance(parts, list) or not parts:
            if is_ok:
                return unexpected(answer.status, "without a list of messages")
            return answered.refused(None, None, answered.content.get("error-text"))
        statuses = {part["status"] for part in parts if _is_readable(part)}
        if len(statuses) != 1 or not all(_is_readable(part) for part in parts):
            return unexpected(answer.status, "with parts of which some may have been taken")
        if statuses == {_OK} and is_ok:
            return answered.accepted(parts[0].get("message-id")) or unexpected(answer.status, "without a message-id")
        if statuses == {_OK} or any(part.get("message-id") for part in parts):
            return unexpected(answer.status, "that contradicts itself")
        return _refused(answered, parts[0])

    def may_be_of_one(self, whole: CallResult) -> bool:
        """Never: each call has one message."""
        return False


def _is_readable(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("status"), str)


def _refused(answered: Answered, part: Mapping[str, Any]) -> CallResult:
    status, words = part["status"], part.get("error-text")
    known = CODES.get(status, AnswerClass.UNCLEAR)
    wait = _WAIT.search(words) if known is AnswerClass.THROTTLED and isinstance(words, str) else None
    return answered.refused(known, status, words, None if wait is None else int(wait[1]) / 1000)
