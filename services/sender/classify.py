"""What an HTTP answer of the plain provider means; pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from shared.outcome import CallResult, Verdict
from shared.phone import mask, mask_numbers_in

_THROTTLED, _UNAVAILABLE = 429, 503
_SECONDS = re.compile(r"\s*[0-9]+\s*")
_LONGEST_PAUSE_S = 24 * 3600.0
_LONGEST_CODE, _LONGEST_ID, _LONGEST_REASON = 64, 200, 240


@dataclass(frozen=True, slots=True)
class CodeTable:
    """The provider's codes whose meaning is known, whatever HTTP status they come with."""

    temporary: frozenset[str] = frozenset()
    permanent: frozenset[str] = frozenset()


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    codes: CodeTable,
    now: datetime,
    conceal: Callable[[str], str] = str,
) -> CallResult:
    """The verdict on an answer. `conceal` takes out of the provider's own words what must not be shown.

    Accepted is a 2xx with a `message_id`. A 429, a 503 and a temporary code are certainly not sent. Any other 4xx and a
    permanent code are refused. Everything else may have been sent.
    """
    content = read_object(body)
    code, reason = own_words(content, conceal)
    if 200 <= status < 300 and code not in codes.temporary and code not in codes.permanent:
        return _accepted_or_unclear(status, content)
    if code in codes.permanent:
        return CallResult(Verdict.REFUSED, code, reason or f"The provider refused it with {code}", status)
    if status in (_THROTTLED, _UNAVAILABLE) or code in codes.temporary:
        pause_s = retry_after_s(headers.get("Retry-After"), now)
        return CallResult(
            Verdict.NOT_SENT, code or f"http_{status}", reason or _SENTENCES.get(status, _HTTP.format(status)), status,
            retry_after_s=pause_s,
        )  # fmt: skip
    verdict = Verdict.REFUSED if 400 <= status < 500 else Verdict.UNCLEAR
    return CallResult(verdict, code or f"http_{status}", reason or _HTTP.format(status), status)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """The pause in a Retry-After header, in seconds or as a date (RFC 9110, section 10.2.3), a day at the longest.

    None where it cannot be read.
    """
    if not value:
        return None
    try:
        pause_s = float(value) if _SECONDS.fullmatch(value) else (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, pause_s), _LONGEST_PAUSE_S)


def scrub(words: str, recipient: str, text: str) -> str:
    """A provider's words without the number or the text, which some quote."""
    return scrub_all(words, [(recipient, text)])


def scrub_all(words: str, messages: Iterable[tuple[str, str]]) -> str:
    """A provider's words without any of the messages' numbers and texts."""
    for recipient, text in messages:
        for secret, shown in ((text, "…"), (recipient, mask(recipient)), (recipient.lstrip("+"), mask(recipient))):
            if secret:
                words = words.replace(secret, shown)
    return mask_numbers_in(words)


def read_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; empty where there is none."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def own_words(content: Mapping[str, Any], conceal: Callable[[str], str] = str) -> tuple[str | None, str | None]:
    """The provider's own code and sentence for what it did, as they may be shown."""
    code, reason = content.get("code"), content.get("message")
    return (
        _printable(conceal(str(code)), _LONGEST_CODE) if _is_text_or_number(code) else None,
        _printable(conceal(reason), _LONGEST_REASON) if isinstance(reason, str) and reason else None,
    )


def accepted_id(content: Mapping[str, Any]) -> str | None:
    """The provider's id of a message that it accepted."""
    provider_message_id = content.get("message_id")
    return _printable(str(provider_message_id), _LONGEST_ID) if _is_text_or_number(provider_message_id) else None


def not_understood(status: int, how: str) -> CallResult:
    """The verdict on an answer that does not say what became of a message."""
    reason = f"The provider answered HTTP {status} {how}: it may have sent the text"
    return CallResult(Verdict.UNCLEAR, "answer_not_understood", reason, status)


_HTTP = "The provider answered with HTTP {}"
_SENTENCES = {_THROTTLED: "The provider is throttling us", _UNAVAILABLE: "The provider is not available"}


def _accepted_or_unclear(status: int, content: Mapping[str, Any]) -> CallResult:
    provider_message_id = accepted_id(content)
    if provider_message_id is None:
        return not_understood(status, "without a message_id")
    return CallResult(Verdict.ACCEPTED, status=status, provider_message_id=provider_message_id)


def _is_text_or_number(value: object) -> bool:
    # JSON's true and false are integers to Python.
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _printable(foreign: str, longest: int) -> str:
    """A provider's words without control characters, which neither a database nor a header takes."""
    shown = foreign[:longest]
    return shown if shown.isprintable() else "".join(character for character in shown if character.isprintable())
