"""What the plain provider's answer to several messages means for each of them; pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.sender.providers.gateway import TextMessage
from services.sender.providers.plain.classify import (
    CodeTable,
    accepted_id,
    classify,
    has_id,
    not_understood,
    own_code,
    own_words,
    read_object,
    retry_after_s,
)
from shared.domain.outcome import CallResult, Verdict

_THROTTLED = "throttled"
_TEMPORARY = frozenset({_THROTTLED, "unavailable"})
"""The format's own codes: they say of one message what 429 and 503 say of a call."""


def classify_results(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    messages: Sequence[TextMessage],
    codes: CodeTable,
    now: datetime,
) -> CallResult | Sequence[CallResult]:
    """The verdicts on the messages in their order, or the one verdict on the call as a whole.

    A 2xx has `results`, one for each message: what it says counts for that message alone, and a message that it says
    nothing of, or two things, may have been sent. Any other answer is judged like one about a single message; but one
    that fails the call and names an accepted message all the same is not believed.
    """
    content = read_object(body)
    results = content.get("results")
    code = own_code(content)
    if 200 <= status < 300 and not codes.is_temporary(code, status) and not codes.is_permanent(code, status):
        if not isinstance(results, list):
            return not_understood(status, "without results")
        entries, pause_s = _by_reference(results), retry_after_s(headers.get("Retry-After"), now)
        return [_verdict(entries.get(message.reference), message, status, codes, pause_s) for message in messages]
    whole = classify(status, headers, body, codes, now, messages)
    if whole.verdict is not Verdict.UNCLEAR and _names_an_accepted(results):
        return not_understood(status, "to the call, with accepted messages in it")
    if whole.verdict is Verdict.REFUSED and len(messages) > 1 and not 200 <= status < 300 and not 400 <= status < 500:
        # A code says why it failed, not that it failed before the first of them was taken.
        return whole._replace(verdict=Verdict.UNCLEAR)
    return whole


def _by_reference(results: Sequence[Any]) -> Mapping[str, Mapping[str, Any] | None]:
    """The entries by their reference; None where several contradict each other."""
    entries: dict[str, Mapping[str, Any] | None] = {}
    for entry in results:
        reference = entry.get("reference") if isinstance(entry, dict) else None
        if isinstance(reference, str):
            entries[reference] = entry if entries.get(reference, entry) == entry else None
    return entries


def _verdict(
    entry: Mapping[str, Any] | None, message: TextMessage, status: int, codes: CodeTable, pause_s: float | None
) -> CallResult:
    if entry is None:
        return not_understood(status, "without one clear result for this message")
    own = own_code(entry)
    says_no = own in codes.permanent | codes.temporary | _TEMPORARY
    if says_no and has_id(entry):
        return not_understood(status, "with both a message_id and a code that says it was not taken")
    if not says_no and (provider_message_id := accepted_id(entry, (message,))) is not None:
        return CallResult(Verdict.ACCEPTED, status=status, provider_message_id=provider_message_id)
    code, reason = own_words(entry, (message,))
    if own in codes.permanent:
        return _refused(code, reason, status)
    if says_no:
        too_fast = own == _THROTTLED
        reason = reason or _LATER.format(code)
        return CallResult(Verdict.NOT_SENT, code, reason, status, retry_after_s=pause_s, too_fast=too_fast)
    if code is None or has_id(entry):
        return not_understood(status, "with a result that has neither a message_id nor a code")
    return _refused(code, reason, status)


def _refused(code: str | None, reason: str | None, status: int) -> CallResult:
    return CallResult(Verdict.REFUSED, code, reason or f"The provider refused it with {code}", status)


def _names_an_accepted(results: object) -> bool:
    return isinstance(results, list) and any(isinstance(entry, dict) and has_id(entry) for entry in results)


_LATER = "The provider does not take it now: {}"
