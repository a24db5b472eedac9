"""Twilio's Programmable Messaging: `POST /2010-04-01/Accounts/{sid}/Messages.json`, one message in a call; pure.

A POST is not idempotent (its own words): what is unclear stays so. A reference of ours it takes only in the query of
the callback for a message's receipts.
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

ENDPOINT = "https://api.twilio.com"
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_FORM = "application/x-www-form-urlencoded"
_CREATED = 201

CODES: Mapping[str, AnswerClass] = {
    **dict.fromkeys(("21211", "21610", "21612", "21614", "21635"), AnswerClass.NUMBER),
    **dict.fromkeys(
        ("21212", "21408", "21602", "21603", "21606", "21617", "21619", "21659", "21701", "21703", "21704"),
        AnswerClass.CONTENT,
    ),
    **dict.fromkeys(("20429", "21611", "63017"), AnswerClass.THROTTLED),
    "21730": AnswerClass.UNAVAILABLE,
    **dict.fromkeys(("20003", "20005", "20404", "21608", "21609"), AnswerClass.ACCOUNT),
    "20500": AnswerClass.UNCLEAR,
}
"""https://www.twilio.com/docs/api/errors, those that an answer may have. 20404: no such account.
21609: the callback that we give with each message is no URL."""


class TwilioFormat(AnyTexts):
    """`sender` is a number, an alphanumeric sender, or the sid of a messaging service (MG…); `user` the account's sid
    or an API key's."""

    def __init__(
        self,
        account_sid: str,
        user: str,
        secret: str,
        sender: str,
        endpoint: str = ENDPOINT,
        callback: str | None = None,
    ) -> None:
        """`callback` is where receipts are taken."""
        self._callback = callback
        self._url = f"{endpoint.rstrip('/')}/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._headers = (
            ("Accept", "application/json"),
            ("Authorization", basic(user, secret)),
            ("Content-Type", _FORM),
        )
        self._from = {"MessagingServiceSid" if _SERVICE.fullmatch(sender) else "From": sender}
        self._secrets = (secret, basic(user, secret).removeprefix("Basic "), *last_segment(callback))

    def request(self, messages: Sequence[TextMessage], now: datetime) -> HttpRequest:
        """As `Format.request`."""
        (message,) = messages
        fields = {"To": message.to, **self._from, "Body": message.text}
        if self._callback is not None:
            # Colons as they are: what is escaped, something on the way may write otherwise, and the URL is signed.
            fields["StatusCallback"] = f"{self._callback}?reference={one_reference(message.reference, message.attempt)}"
        return HttpRequest("POST", self._url, self._headers, urlencode(fields).encode())

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """As `Format.results`: accepted is a 201 with a `sid`."""
        answered = read_answer(answer, messages, now, self._secrets)
        if answer.status != _CREATED:
            return _not_created(answered)
        return answered.accepted(answered.content.get("sid")) or unexpected(answer.status, "without a sid")

    def may_be_of_one(self, whole: CallResult) -> bool:
        """Never: each call has one message."""
        return False


def _not_created(answered: Answered) -> CallResult:
    content: Mapping[str, Any] = answered.content
    if 200 <= answered.status < 300 or content.get("sid"):
        return unexpected(answered.status, "that is neither a created message nor an error")
    code = content.get("code")
    known = CODES.get(str(code)) if isinstance(code, int | str) and not isinstance(code, bool) else None
    return answered.refused(known, code, content.get("message") or content.get("title"))
