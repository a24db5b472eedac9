"""What a provider call came to, and what that means for the number."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from shared.domain.retry import JITTER
from shared.domain.states import State


class Verdict(StrEnum):
    """What is known after one provider call."""

    ACCEPTED = "accepted"  # the provider took it
    NOT_SENT = "not_sent"  # certainly not sent, and another try may succeed
    PUT_OFF = "put_off"  # the same, for a reason about this number alone
    ACCOUNT = "account"  # certainly not sent, for a reason about us: credentials, balance, permission
    REFUSED = "refused"  # certainly not sent, and no try will succeed
    UNCLEAR = "unclear"  # it may have been sent


class CallResult(NamedTuple):
    """One provider call: the verdict, and the provider's own words for it.

    `code` and `reason` go into dead letters and the ledger: no full number, no text. `retry_after_s` is the pause
    that the provider asked for.
    """

    verdict: Verdict
    code: str | None = None
    reason: str | None = None
    status: int | None = None
    provider_message_id: str | None = None
    retry_after_s: float | None = None
    about_content: bool = False
    """It was refused because of what it says, and so may be others like it."""
    too_fast: bool = False
    """It came too soon after others for the provider, which is to be called more slowly."""


SENDER_DIED = CallResult(Verdict.UNCLEAR, "sender_died", "The sender died during the call: it may have been sent")
"""What is known of a claim whose holder is gone."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a number is tried, and the delays that the broker offers (seconds, ascending)."""

    max_attempts: int
    tiers_s: tuple[float, ...]


class Outcome(NamedTuple):
    """A number's next state, with what explains it; `retry_at_ms` only with `State.RETRYING`.

    `unclear` is set where this attempt may have been sent, whatever the state says of the number; `uncounted` where it
    leaves the number as many attempts as it had.
    """

    state: State
    code: str | None = None
    reason: str | None = None
    provider_status: int | None = None
    provider_message_id: str | None = None
    retry_at_ms: int | None = None
    unclear: bool = False
    uncounted: bool = False
    about_content: bool = False
    """As `CallResult.about_content`."""


def decide_after_call(
    result: CallResult, *, attempt: int, may_resend: bool, expires_at_ms: int | None, now_ms: int, policy: RetryPolicy
) -> Outcome:
    """The outcome of attempt number `attempt` of those that count (the first is 1).

    What is about our account fails no number, however often it is tried, and does not count. An unclear result is held
    unless `may_resend` says that a second text is acceptable. A retry that would come after `expires_at_ms` is not
    made. `retry_at_ms` is the earliest moment; the tier's jitter comes on top.
    """
    match result.verdict:
        case Verdict.ACCEPTED:
            return Outcome(State.SENT, None, None, result.status, result.provider_message_id)
        case Verdict.REFUSED:
            return _ended(State.FAILED, result)
        case Verdict.UNCLEAR if not may_resend:
            return _ended(State.UNKNOWN, result)
    is_ours_to_mend = result.verdict is Verdict.ACCOUNT
    if attempt >= policy.max_attempts and not is_ours_to_mend:
        return _given_up(result, attempt)
    backoff_s = _backoff_s(1 if is_ours_to_mend else attempt, policy)
    retry_at_ms = now_ms + round(1000 * max(backoff_s * (1 - JITTER), result.retry_after_s or 0))
    if expires_at_ms is not None and retry_at_ms >= expires_at_ms:
        # A call that may have gone out must not end as one that did not.
        return _ended(State.UNKNOWN, result) if result.verdict is Verdict.UNCLEAR else expired(result)
    unclear = result.verdict is Verdict.UNCLEAR
    return Outcome(
        State.RETRYING, result.code, result.reason, result.status, None, retry_at_ms, unclear, is_ours_to_mend
    )


_NOT_SENT = frozenset({State.FAILED, State.EXPIRED, State.CANCELLED, State.SUPPRESSED})


def keep_if_maybe_sent(outcome: Outcome, *, was_unclear: bool) -> Outcome:
    """The outcome where `was_unclear` tells that an earlier attempt may have been sent: never "not sent" then."""
    if not was_unclear or outcome.state not in _NOT_SENT:
        return outcome
    reason = f"{outcome.reason or 'The batch was cancelled'}; an earlier attempt may have been sent"
    return outcome._replace(state=State.UNKNOWN, code=outcome.code or outcome.state.value, reason=reason)


def expired(last: CallResult | None = None) -> Outcome:
    """The outcome of a number whose batch ran out of time, before any call or after a last one."""
    if last is None:
        return Outcome(State.EXPIRED, "expired", _EXPIRED)
    return Outcome(State.EXPIRED, "expired", f"{_EXPIRED}; the last attempt: {last.reason}", last.status)


_EXPIRED = "Not sent before the batch's expires_at"


def _backoff_s(attempt: int, policy: RetryPolicy) -> float:
    return policy.tiers_s[min(attempt, len(policy.tiers_s)) - 1]


def _ended(state: State, result: CallResult) -> Outcome:
    unclear = result.verdict is Verdict.UNCLEAR
    return Outcome(
        state, result.code, result.reason, result.status, unclear=unclear, about_content=result.about_content
    )


def _given_up(result: CallResult, attempt: int) -> Outcome:
    # The last unclear call may have gone out, whatever the batch allows: the number ends as unclear, not as failed.
    if result.verdict is Verdict.UNCLEAR:
        return _ended(State.UNKNOWN, result)
    reason = f"{result.reason or 'Not sent'}; given up after {attempt} attempts"
    return Outcome(State.FAILED, result.code, reason, result.status)
