"""What a provider's own codes mean: seven classes, the last for what may have been sent, whatever
the provider calls it."""

from enum import StrEnum

from shared.domain.outcome import CallResult, Verdict


class AnswerClass(StrEnum):
    """Why a provider did not take a message, or that nobody can tell."""

    NUMBER = "number"  # this number, for good
    CONTENT = "content"  # text, sender or template, for good
    THROTTLED = "throttled"  # too fast: later
    THROTTLED_NUMBER = "throttled_number"  # this number has had too many: later; nobody else slows down
    UNAVAILABLE = "unavailable"  # not now; certainly not sent
    ACCOUNT = "account"  # credentials, balance, permission: about us
    UNCLEAR = "unclear"  # may have been sent


_VERDICTS = {
    AnswerClass.NUMBER: Verdict.REFUSED,
    AnswerClass.CONTENT: Verdict.REFUSED,
    AnswerClass.THROTTLED: Verdict.NOT_SENT,
    AnswerClass.THROTTLED_NUMBER: Verdict.PUT_OFF,
    AnswerClass.UNAVAILABLE: Verdict.NOT_SENT,
    AnswerClass.ACCOUNT: Verdict.ACCOUNT,
    AnswerClass.UNCLEAR: Verdict.UNCLEAR,
}


def not_taken(
    what: AnswerClass, code: str | None, reason: str | None, status: int, retry_after_s: float | None = None
) -> CallResult:
    """The result of a call that ended so, with the provider's words as they may be shown."""
    about_content, too_fast = what is AnswerClass.CONTENT, what is AnswerClass.THROTTLED
    return CallResult(_VERDICTS[what], code, reason, status, None, retry_after_s, about_content, too_fast)
