"""What an HTTP answer of the plain provider means; pure."""

import re
from collections.abc import Callable, Mapping
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
    content = _object(body)
    code, reason = _own_code(content, conceal), _own_reason(content, conceal)
    if 200 <= status < 300 and code not in codes.temporary | codes.permanent:
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
    for secret, shown in ((text, "…"), (recipient, mask(recipient)), (recipient.lstrip("+"), mask(recipient))):
        if secret:
            words = words.replace(secret, shown)
    return mask_numbers_in(words)


_HTTP = "The provider answered with HTTP {}"
_SENTENCES = {_THROTTLED: "The provider is throttling us", _UNAVAILABLE: "The provider is not available"}


def _accepted_or_unclear(status: int, content: Mapping[str, Any]) -> CallResult:
    provider_message_id = content.get("message_id")
    if _is_text_or_number(provider_message_id):
        return CallResult(
            Verdict.ACCEPTED, status=status, provider_message_id=_printable(str(provider_message_id), _LONGEST_ID)
        )
    reason = f"The provider answered HTTP {status} without a message_id: it may have sent the text"
    return CallResult(Verdict.UNCLEAR, "answer_not_understood", reason, status)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _own_code(content: Mapping[str, Any], conceal: Callable[[str], str]) -> str | None:
    code = content.get("code")
    return _printable(conceal(str(code)), _LONGEST_CODE) if _is_text_or_number(code) else None


def _own_reason(content: Mapping[str, Any], conceal: Callable[[str], str]) -> str | None:
    reason = content.get("message")
    return _printable(conceal(reason), _LONGEST_REASON) if isinstance(reason, str) and reason else None


def _is_text_or_number(value: object) -> bool:
    # JSON's true and false are integers to Python.
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _printable(foreign: str, longest: int) -> str:
    """A provider's words without control characters, which neither a database nor a header takes."""
    return "".join(character for character in foreign[:longest] if character.isprintable())
