"""What an HTTP answer of the plain provider means; pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from services.sender.providers.concealing import conceal, conceal_in_id, printable
from services.sender.providers.gateway import TextMessage
from shared.domain.outcome import CallResult, Verdict

_THROTTLED, _UNAVAILABLE = 429, 503
NOT_TAKEN = frozenset({408, 421, 425, _THROTTLED, _UNAVAILABLE, 521, 522, 523, 525, 526})
"""Not taken, and another try may pass: by RFC 9110 and 8470, or (521 and on) a proxy never reached the origin."""
_ABOUT_US = frozenset({401, 402, 403, 407})
"""Credentials, balance, permission: about the account, not about the number (RFC 9110, sections 15.5.2 to 15.5.8)."""
_BEYOND_64_BITS = re.compile(rb"[0-9]{19}")
_SECONDS = re.compile(r"\s*[0-9]+\s*")
_TEN_YEARS_S = 10 * 365 * 86_400.0
_LONGEST_CODE, _LONGEST_ID, _LONGEST_REASON = 64, 200, 240


@dataclass(frozen=True, slots=True)
class CodeTable:
    """The provider's codes whose meaning is known, whatever HTTP status they come with; `http_502` stands for a
    status."""

    temporary: frozenset[str] = frozenset()
    permanent: frozenset[str] = frozenset()

    def is_temporary(self, code: str | None, status: int) -> bool:
        """Whether it was not taken, and may be later."""
        return code in self.temporary or f"http_{status}" in self.temporary

    def is_permanent(self, code: str | None, status: int) -> bool:
        """Whether it was not taken, and never will be."""
        return code in self.permanent or f"http_{status}" in self.permanent


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    codes: CodeTable,
    now: datetime,
    messages: Sequence[TextMessage] = (),
) -> CallResult:
    """The verdict on an answer to a call with these messages, which the provider's own words are shown without.

    Accepted is a 2xx with a `message_id`. A 3xx, a status of `NOT_TAKEN` and a temporary code are certainly not sent.
    401, 402, 403 and 407 are about the account. Any other 4xx and a permanent code are refused. Everything else may
    have been sent, and so may whatever says no and names a message_id all the same.
    """
    content = read_object(body)
    own = own_code(content)
    temporary, permanent = codes.is_temporary(own, status), codes.is_permanent(own, status)
    if 200 <= status < 300 and not temporary and not permanent:
        return _accepted_or_unclear(status, content, messages)
    code, reason = own_words(content, messages)
    if has_id(content):
        return not_understood(status, "with a message_id in an answer that says no")
    if permanent:
        shown = code or f"http_{status}"
        return CallResult(Verdict.REFUSED, shown, reason or f"The provider refused it with {shown}", status)
    if status in NOT_TAKEN or 300 <= status < 400 or temporary:
        pause_s = retry_after_s(headers.get("Retry-After"), now)
        return CallResult(
            Verdict.NOT_SENT, code or f"http_{status}", reason or _SENTENCES.get(status, _HTTP.format(status)), status,
            retry_after_s=pause_s, too_fast=status == _THROTTLED,
        )  # fmt: skip
    if status in _ABOUT_US:
        return CallResult(Verdict.ACCOUNT, code or f"http_{status}", reason or _ACCOUNT.format(status), status)
    verdict = Verdict.REFUSED if 400 <= status < 500 else Verdict.UNCLEAR
    return CallResult(verdict, code or f"http_{status}", reason or _HTTP.format(status), status)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """The pause in a Retry-After header, in seconds or as a date (RFC 9110, section 10.2.3), ten years at the most;
    None where it cannot be read."""
    if not value:
        return None
    try:
        pause_s = float(value) if _SECONDS.fullmatch(value) else (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, pause_s), _TEN_YEARS_S)


def read_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; empty where there is none."""
    try:
        # orjson makes a float of an integer that has no room in 64 bits, and an id of it would be another one.
        content = (json if _BEYOND_64_BITS.search(body) else orjson).loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def own_code(content: Mapping[str, Any]) -> str | None:
    """The provider's own code, as tables have it."""
    code = content.get("code")
    return printable(str(code))[:_LONGEST_CODE] if _is_text_or_number(code) else None


def own_words(content: Mapping[str, Any], messages: Sequence[TextMessage]) -> tuple[str | None, str | None]:
    """The provider's own code and sentence for what it did to these messages, as they may be shown."""
    code, reason = content.get("code"), content.get("message")
    return (
        conceal(str(code), messages)[:_LONGEST_CODE] if _is_text_or_number(code) else None,
        conceal(reason, messages)[:_LONGEST_REASON] if isinstance(reason, str) and reason else None,
    )


def accepted_id(content: Mapping[str, Any], messages: Sequence[TextMessage]) -> str | None:
    """The provider's id of a message that it accepted, as it may be shown; a blank one is none, and neither is 0."""
    provider_message_id = content.get("message_id")
    if not _is_text_or_number(provider_message_id) or not has_id(content):
        return None
    return conceal_in_id(str(provider_message_id), messages)[:_LONGEST_ID].strip() or None


def has_id(content: Mapping[str, Any]) -> bool:
    """Whether there is an id of any kind: one that we cannot read says no less that the message was taken. 0, "0" and
    false are none: that is how programs write that they have no id."""
    provider_message_id = content.get("message_id")
    if isinstance(provider_message_id, str):
        return provider_message_id.strip() not in ("", "0")
    return provider_message_id is not None and provider_message_id != 0


def not_understood(status: int, how: str) -> CallResult:
    """The verdict on an answer that does not say what became of a message."""
    reason = f"The provider answered HTTP {status} {how}: it may have sent the text"
    return CallResult(Verdict.UNCLEAR, "answer_not_understood", reason, status)


_HTTP = "The provider answered with HTTP {}"
_ACCOUNT = "The provider does not serve our account: HTTP {}"
_SENTENCES = {_THROTTLED: "The provider is throttling us", _UNAVAILABLE: "The provider is not available"}


def _accepted_or_unclear(status: int, content: Mapping[str, Any], messages: Sequence[TextMessage]) -> CallResult:
    provider_message_id = accepted_id(content, messages)
    if provider_message_id is None:
        return not_understood(status, "without a message_id")
    return CallResult(Verdict.ACCEPTED, status=status, provider_message_id=provider_message_id)


def _is_text_or_number(value: object) -> bool:
    # JSON's true and false are integers to Python.
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""
