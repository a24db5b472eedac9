"""Any gateway with one message in a call, as its configuration says: what is sent, and what the answer means; pure."""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import orjson

from services.sender.providers.gateway import Results, TextMessage
from services.sender.providers.plain.classify import has_id
from services.sender.providers.vendors.reading import Answered, read_answer, unexpected
from services.sender.providers.vendors.templates import Templates, with_values
from services.sender.transports import HttpAnswer, HttpRequest
from services.sender.transports.address import Address
from shared.domain.answers import AnswerClass
from shared.domain.outcome import CallResult
from shared.providers import TemplateMapping

_PLACEHOLDER = re.compile(
    r"\$(?:\$|(?P<name>[a-z_]+(?:\.[A-Za-z0-9_]+)?)(?!(?<=\$template)\.)|(?P<wrong>.?))", re.DOTALL
)
_VALUE_NAME = re.compile(r"[A-Za-z0-9_]+")
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

    Without `accepted` an id accepts, where there is no code. A code `http_404` stands for a status.
    """

    id: str | None
    code: str | None
    message: str | None
    accepted: frozenset[str]
    classes: Mapping[str, AnswerClass]


class ConfiguredFormat:
    """Sends and reads as it is told; ValueError for what cannot be sent. With templates it sends these only."""

    may_need_a_call_each = False

    def __init__(
        self, sent: Sent, heard: Heard, templates: Mapping[int, TemplateMapping] = MappingProxyType({})
    ) -> None:
        self._sent, self._heard = sent, heard
        self._templates, self.can_send_any = Templates(templates, dict), not templates
        spelled = {
            form for secret in sent.secrets.values() for form in (secret, quote(secret, safe=""), quote_plus(secret))
        }
        self._concealed = sorted(spelled, key=len, reverse=True)
        if "$" in urlsplit(sent.url).netloc.rpartition("@")[2] or "#" in sent.url:
            raise ValueError("endpoint: no placeholder in its host, and no fragment")
        if any("$text" in value or "$template." in value for value in sent.headers.values()):
            raise ValueError("headers: a text has characters that a header cannot have")
        # What is wrong shows now, and not with the first message.
        if not templates:
            self._try([_ANY])
        for template_id, mapping in templates.items():
            if odd := next(
                (name for name in self._templates.names(template_id) if not _VALUE_NAME.fullmatch(name)), None
            ):
                raise ValueError(f"templates.{template_id}.params: {odd}: letters, digits and _ of ASCII")
            example = _ANY._replace(template_id=template_id, variables=dict.fromkeys(mapping.params, "value"))
            try:
                self._try([example])
            except ValueError as error:
                raise ValueError(f"templates.{template_id}: {error}") from None

    def _try(self, messages: Sequence[TextMessage]) -> None:
        try:
            request = self.request(messages, datetime.now(UTC))
        except TypeError:
            raise ValueError("fields: something in them is not JSON") from None
        tuple(Address.of(request.url).headers(request.headers))

    def share_key(self, _message: TextMessage) -> Hashable:
        """As `Format.share_key`; each call has one message."""
        return None

    def unsendable(self, message: TextMessage) -> CallResult | None:
        """As `Format.unsendable`."""
        return None if self.can_send_any else self._templates.unsendable(message)

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
        if "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = kind
        return HttpRequest(self._sent.method, url, tuple(headers.items()), body)

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """As `Format.results`: accepted is a 2xx with a code that accepts, and with an id where one is expected."""
        quoted = messages if self.can_send_any else with_values(messages)
        answered = read_answer(answer, quoted, now, self._concealed)
        raw_code = self._at(answered, self._heard.code)
        code = _code(raw_code)
        message_id = self._at(answered, self._heard.id)
        known = self._heard.classes.get(code or "") or self._heard.classes.get(f"http_{answer.status}")
        is_ok = 200 <= answer.status < 300
        if known is None and is_ok and self._accepts(code, raw_code, message_id):
            if self._heard.id is None:
                return answered.accepted_without_id()
            return answered.accepted(_text(message_id)) or unexpected(answer.status, "without an id")
        if _says_taken(message_id) or code in self._heard.accepted:
            return unexpected(answer.status, "that says yes and no")
        what = known or (AnswerClass.UNCLEAR if is_ok else None)
        return answered.refused(what, code, self._at(answered, self._heard.message))

    def may_be_of_one(self, whole: CallResult) -> bool:
        """Never: each call has one message."""
        return False

    def _values(self, message: TextMessage) -> Mapping[str, str]:
        own = {name: value(message) for name, value in _OF_A_MESSAGE.items()}
        if (code := self._templates.code(message)) is not None:
            own["template"] = code
            own |= {f"template.{name}": value for name, value in self._templates.by_name(message).items()}
        return own | {f"secret.{name}": secret for name, secret in self._sent.secrets.items()}

    def _accepts(self, code: str | None, raw_code: object, message_id: object) -> bool:
        if self._heard.accepted:
            return code in self._heard.accepted
        # Whatever else is in its place is a code that we cannot read.
        return raw_code in (None, "") and _says_taken(message_id)

    @staticmethod
    def _at(answered: Answered, path: str | None) -> object:
        """What is at a path; None where there is nothing."""
        found: Any = answered.content if path else None
        for part in (path or "").split("."):
            if isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                found = found.get(part) if isinstance(found, dict) else None
        return found


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _code(value: object) -> str | None:
    """A code as the tables have it: JSON's true is a code too."""
    return str(value).lower() if isinstance(value, bool) else _text(value) or None


def _says_taken(message_id: object) -> bool:
    """Whether there is an id of any kind, as the plain format has it: 0 and nothing are none."""
    return has_id({"message_id": message_id})


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
        raise ValueError(
            f"there is no {found[0].strip()}; write $to, $to_digits, $text, $reference, $secret.NAME, $$, or of a "
            "template $template, $template.THEIR_NAME"
        )
    return values[name]
