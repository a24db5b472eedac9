"""Any gateway with one message in a call, as its configuration says: what is sent, and what the answer means; pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode

import orjson

from services.sender.providers.gateway import Results, TextMessage
from services.sender.providers.vendors.reading import Answered, read_answer, unexpected
from services.sender.transports import HttpAnswer, HttpRequest
from shared.domain.answers import AnswerClass
from shared.domain.outcome import CallResult

_PLACEHOLDER = re.compile(r"\$(?:\$|(?P<name>[a-z_]+(?:\.[A-Za-z0-9_]+)?)|(?P<wrong>.?))", re.DOTALL)
_OF_A_MESSAGE: Mapping[str, Callable[[TextMessage], str]] = {
    "to": lambda message: message.to,
    "to_digits": lambda message: message.to.removeprefix("+"),
    "text": lambda message: message.text,
    "reference": lambda message: message.reference,
}


@dataclass(frozen=True)
class Sent:
    """What a request says; every text in it may have placeholders. `fields` may be nested for JSON."""

    url: str
    method: Literal["GET", "POST", "PUT"]
    body: Literal["json", "form", "query"]
    headers: Mapping[str, str]
    fields: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Heard:
    """Where an answer's id, code and words are, as paths with dots; which codes accept, and which class others are.

    Without `accepted` an id accepts. A code `http_404` stands for a status.
    """

    id: str | None
    code: str | None
    message: str | None
    accepted: frozenset[str]
    classes: Mapping[str, AnswerClass]


class ConfiguredFormat:
    """Sends and reads as it is told; ValueError for a placeholder that there is not."""

    def __init__(self, sent: Sent, heard: Heard) -> None:
        self._sent, self._heard = sent, heard
        _filled({"url": sent.url, "headers": sent.headers, "fields": sent.fields}, self._values(_ANY))

    def request(self, messages: Sequence[TextMessage], now: datetime) -> HttpRequest:
        """As `Format.request`."""
        (message,) = messages
        values = self._values(message)
        fields = _filled(self._sent.fields, values)
        headers: dict[str, str] = _filled(self._sent.headers, values)
        url = _filled(self._sent.url, {name: quote(value, safe="") for name, value in values.items()})
        if self._sent.body == "query":
            joint = "&" if "?" in url else "?"
            return HttpRequest(self._sent.method, f"{url}{joint}{urlencode(fields)}", tuple(headers.items()), b"")
        is_json = self._sent.body == "json"
        kind = "application/json" if is_json else "application/x-www-form-urlencoded"
        body = orjson.dumps(fields) if is_json else urlencode(fields).encode()
        return HttpRequest(self._sent.method, url, (("Content-Type", kind), *headers.items()), body)

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """As `Format.results`: accepted is a 2xx with a code that accepts, and with an id where one is expected."""
        answered = read_answer(answer, messages, now)
        code, message_id = self._at(answered, self._heard.code), self._at(answered, self._heard.id)
        known = self._heard.classes.get(code or "") or self._heard.classes.get(f"http_{answer.status}")
        if known is None and 200 <= answer.status < 300 and self._accepts(code):
            if self._heard.id is None:
                return answered.accepted_without_id()
            return answered.accepted(message_id) or unexpected(answer.status, "without an id")
        if message_id and message_id != "0" and not self._heard.accepted:
            return unexpected(answer.status, "with an id in an answer that says no")
        what = known or (AnswerClass.UNCLEAR if 200 <= answer.status < 300 else None)
        return answered.refused(what, code, self._at(answered, self._heard.message))

    def may_be_of_one(self, whole: CallResult) -> bool:
        """Never: each call has one message."""
        return False

    def _values(self, message: TextMessage) -> Mapping[str, str]:
        own = {name: value(message) for name, value in _OF_A_MESSAGE.items()}
        return own | {f"secret.{name}": secret for name, secret in self._sent.secrets.items()}

    def _accepts(self, code: str | None) -> bool:
        return code in self._heard.accepted if self._heard.accepted else self._heard.id is not None

    @staticmethod
    def _at(answered: Answered, path: str | None) -> str | None:
        """What is at a path, as text; None where there is no text or number."""
        found: Any = answered.content if path else None
        for part in (path or "").split("."):
            if isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                found = found.get(part) if isinstance(found, dict) else None
        return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else None


_ANY = TextMessage("b:0", "+8613800138000", "text")


def _filled(template: Any, values: Mapping[str, str]) -> Any:
    """The template with every placeholder in its texts filled in."""
    if isinstance(template, str):
        return _PLACEHOLDER.sub(lambda found: _value(found, values), template)
    if isinstance(template, Mapping):
        return {key: _filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, values) for value in template]
    return template


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    if found[0] == "$$":
        return "$"
    if (name := found["name"]) is None or name not in values:
        raise ValueError(f"there is no {found[0]}; write $to, $to_digits, $text, $reference, $secret.NAME, or $$")
    return values[name]
