"""What all vendors' answers have in common: words that may be shown, pauses, and what a status says by itself; pure."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.sender.providers.concealing import conceal, conceal_in_id
from services.sender.providers.gateway import TextMessage
from services.sender.providers.plain.classify import NOT_TAKEN, read_object, retry_after_s
from services.sender.transports import HttpAnswer
from shared.domain.answers import AnswerClass, not_taken
from shared.domain.outcome import CallResult, Verdict

_LONGEST_CODE, _LONGEST_ID, _LONGEST_REASON = 64, 200, 240
_ABOUT_US = frozenset({401, 402, 403, 407})
_SEE_OTHER, _THROTTLED, _UNAVAILABLE = 303, 429, 503
_SHORTEST_SECRET = 4
ABOUT_ALL = frozenset({404, 405, 415})
"""Statuses about the address or the format, whatever the messages are."""


def basic(user: str, secret: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    return f"Basic {b64encode(f'{user}:{secret}'.encode()).decode()}"


def last_segment(callback: str | None) -> tuple[str, ...]:
    """What may be a secret in the URL of a callback: vendors quote the URL."""
    return () if callback is None else (callback.rpartition("/")[2],)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to a call with these messages; `content` is its JSON object, empty where there is none."""

    status: int
    content: Mapping[str, Any]
    messages: Sequence[TextMessage]
    retry_after_s: float | None
    secrets: Sequence[str] = ()

    def accepted(self, message_id: object) -> CallResult | None:
        """The result for a message that has this id; None where it is none."""
        if not isinstance(message_id, str) or message_id.strip() in ("", "0"):
            return None
        shown = conceal_in_id(message_id, self.messages)[:_LONGEST_ID].strip()
        return CallResult(Verdict.ACCEPTED, status=self.status, provider_message_id=shown) if shown else None

    def accepted_without_id(self) -> CallResult:
        """The result for a message of which the provider tells no id."""
        return CallResult(Verdict.ACCEPTED, status=self.status)

    def refused(
        self, known: AnswerClass | None, code: object, words: object, pause_s: float | None = None
    ) -> CallResult:
        """The result of an answer that is no acceptance: by its code where that is known, else by its status."""
        what = known or by_status(self.status, asks_for_a_pause=self.retry_after_s is not None)
        shown = self._shown(str(code))[:_LONGEST_CODE] if isinstance(code, str | int) and code != "" else None
        said = self._shown(words)[:_LONGEST_REASON] if isinstance(words, str) and words else None
        reason = said or f"The provider answered with HTTP {self.status}"
        # How long all pause because of our account is not the provider's to say: it does not know when it is mended.
        pause_s = None if what is AnswerClass.ACCOUNT else self.retry_after_s if pause_s is None else pause_s
        return not_taken(what, shown or f"http_{self.status}", reason, self.status, pause_s)

    def _shown(self, words: str) -> str:
        for secret in self.secrets:
            if len(secret) >= _SHORTEST_SECRET:
                words = words.replace(secret, "…")
        return conceal(words, self.messages)


def read_answer(
    answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime, secrets: Sequence[str] = ()
) -> Answered:
    """The answer, as far as it can be read; its words are shown without our secrets."""
    pause_s = retry_after_s(answer.headers.get("Retry-After"), now)
    return Answered(answer.status, read_object(answer.body), messages, pause_s, secrets)


def by_status(status: int, *, asks_for_a_pause: bool) -> AnswerClass:
    """What a status says where no known code does (RFC 9110): a server's error may have come after the message was
    taken. Proxies say 503 for that too, unless it asks for a pause."""
    if status in _ABOUT_US:
        return AnswerClass.ACCOUNT
    if status == _THROTTLED:
        return AnswerClass.THROTTLED
    if status == _UNAVAILABLE:
        return AnswerClass.UNAVAILABLE if asks_for_a_pause else AnswerClass.UNCLEAR
    if status in NOT_TAKEN or (300 <= status < 400 and status != _SEE_OTHER):
        return AnswerClass.UNAVAILABLE
    return AnswerClass.CONTENT if 400 <= status < 500 else AnswerClass.UNCLEAR


def class_of(code: object, classes: Mapping[str, AnswerClass]) -> AnswerClass | None:
    """The class of a code, or else of its family, which is what it has before its first dot."""
    if not isinstance(code, str):
        return None
    return classes.get(code) or classes.get(code.partition(".")[0])


def unexpected(status: int, how: str) -> CallResult:
    """The result of an answer that does not say what became of a message."""
    reason = f"The provider answered HTTP {status} {how}: it may have sent the text"
    return CallResult(Verdict.UNCLEAR, "answer_not_understood", reason, status)
