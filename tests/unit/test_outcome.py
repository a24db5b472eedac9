"""What a provider call means for the number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.outcome import (
    CallResult,
    Outcome,
    RetryPolicy,
    Verdict,
    decide_after_call,
    expired,
    keep_if_maybe_sent,
)
from shared.domain.states import State

NOW_MS = 1_700_000_000_000
POLICY = RetryPolicy(max_attempts=6, tiers_s=(5, 30, 120, 600, 3600))
TIMEOUT = CallResult(Verdict.UNCLEAR, "timeout", "The provider did not answer")
BUSY = CallResult(Verdict.NOT_SENT, "http_503", "The provider is not available", 503)
ACCEPTED = CallResult(Verdict.ACCEPTED, status=200, provider_message_id="p-1")
REFUSED = CallResult(Verdict.REFUSED, "bad_number", "No such number", 400)


def decided(
    result: CallResult, attempt: int = 1, expires_at_ms: int | None = None, *, may_resend: bool = False
) -> Outcome:
    return decide_after_call(
        result, attempt=attempt, may_resend=may_resend, expires_at_ms=expires_at_ms, now_ms=NOW_MS, policy=POLICY
    )


@pytest.mark.parametrize("attempt", [1, 5, 6, 7])
@pytest.mark.parametrize("may_resend", [False, True])
@pytest.mark.parametrize("expires_at_ms", [None, NOW_MS - 1, NOW_MS + 10**9])
@pytest.mark.parametrize(("result", "state"), [(ACCEPTED, State.SENT), (REFUSED, State.FAILED)])
def test_a_clear_answer_is_final_whatever_else_holds(
    result: CallResult, state: State, expires_at_ms: int | None, attempt: int, *, may_resend: bool
) -> None:
    assert decided(result, attempt, expires_at_ms, may_resend=may_resend).state is state


def test_an_accepted_number_keeps_the_providers_id_and_no_error() -> None:
    assert decided(ACCEPTED) == Outcome(State.SENT, None, None, 200, "p-1")


def test_a_refused_number_keeps_the_providers_code_and_words() -> None:
    assert decided(REFUSED) == Outcome(State.FAILED, "bad_number", "No such number", 400)


@pytest.mark.parametrize("attempt", [1, 6, 7])
@pytest.mark.parametrize("expires_at_ms", [None, NOW_MS - 1])
def test_an_unclear_call_is_held(attempt: int, expires_at_ms: int | None) -> None:
    held = Outcome(State.UNKNOWN, "timeout", "The provider did not answer", unclear=True)
    assert decided(TIMEOUT, attempt, expires_at_ms) == held


def test_an_unclear_call_is_made_again_where_a_second_text_is_acceptable() -> None:
    outcome = decided(TIMEOUT, may_resend=True)
    assert (outcome.state, outcome.code, outcome.reason) == (State.RETRYING, "timeout", "The provider did not answer")


@pytest.mark.parametrize(("attempt", "wait_s"), [(1, 5), (2, 30), (3, 120), (4, 600), (5, 3600)])
def test_each_further_attempt_waits_one_tier_longer(attempt: int, wait_s: int) -> None:
    retry_at_ms = decided(BUSY, attempt).retry_at_ms
    assert retry_at_ms is not None
    # The tier's jitter takes up to a fifth away.
    assert NOW_MS + 800 * wait_s <= retry_at_ms <= NOW_MS + 1000 * wait_s


def test_attempts_beyond_the_last_tier_wait_as_long_as_it_does() -> None:
    policy = RetryPolicy(max_attempts=9, tiers_s=(5, 30))

    def wait_ms(attempt: int) -> int:
        outcome = decide_after_call(
            BUSY, attempt=attempt, may_resend=False, expires_at_ms=None, now_ms=NOW_MS, policy=policy
        )
        return (outcome.retry_at_ms or 0) - NOW_MS

    assert wait_ms(1) < wait_ms(2) == wait_ms(3) == wait_ms(8)


@pytest.mark.parametrize("attempt", [6, 7])
def test_the_last_attempt_certainly_not_sent_is_a_failure_that_says_how_often_it_was_tried(attempt: int) -> None:
    outcome = decided(BUSY, attempt)
    assert outcome.state is State.FAILED
    assert outcome.code == "http_503"
    assert outcome.reason == f"The provider is not available; given up after {attempt} attempts"
    assert outcome.provider_status == 503


def test_the_last_attempt_unclear_is_held_even_where_a_second_text_is_acceptable() -> None:
    assert decided(TIMEOUT, attempt=6, may_resend=True).state is State.UNKNOWN


def test_a_retry_that_would_come_after_the_batchs_end_is_not_made() -> None:
    retry_at_ms = decided(BUSY).retry_at_ms
    assert decided(BUSY, expires_at_ms=retry_at_ms).state is State.EXPIRED
    assert decided(BUSY, expires_at_ms=(retry_at_ms or 0) + 1).state is State.RETRYING


def test_an_expired_number_says_what_its_last_attempt_came_to() -> None:
    outcome = decided(BUSY, expires_at_ms=NOW_MS + 1)
    assert outcome.code == "expired"
    assert outcome.reason == "Not sent before the batch's expires_at; the last attempt: The provider is not available"
    assert outcome.provider_status == 503


def test_a_number_that_expired_before_any_call_says_so() -> None:
    assert expired() == Outcome(State.EXPIRED, "expired", "Not sent before the batch's expires_at")


def test_a_number_that_may_have_been_sent_never_ends_as_not_sent() -> None:
    assert decided(TIMEOUT, expires_at_ms=NOW_MS + 1, may_resend=True).state is State.UNKNOWN


@settings(deadline=None, max_examples=300)
@given(
    verdict=st.sampled_from(Verdict),
    attempt=st.integers(1, 12),
    may_resend=st.booleans(),
    left_ms=st.none() | st.integers(-(10**7), 10**7),
    retry_after_s=st.none() | st.floats(0, 10**6),
    tiers_s=st.lists(st.floats(0.01, 10**5), min_size=1, max_size=6, unique=True).map(sorted).map(tuple),
    max_attempts=st.integers(1, 8),
)
def test_no_retry_comes_after_the_last_attempt_or_the_batchs_end_or_before_the_provider_wants_it(
    verdict: Verdict,
    attempt: int,
    left_ms: int | None,
    retry_after_s: float | None,
    tiers_s: tuple[float, ...],
    max_attempts: int,
    *,
    may_resend: bool,
) -> None:
    expires_at_ms = None if left_ms is None else NOW_MS + left_ms
    outcome = decide_after_call(
        CallResult(verdict, "code", "reason", retry_after_s=retry_after_s),
        attempt=attempt,
        may_resend=may_resend,
        expires_at_ms=expires_at_ms,
        now_ms=NOW_MS,
        policy=RetryPolicy(max_attempts, tiers_s),
    )
    assert (outcome.state is State.RETRYING) == (outcome.retry_at_ms is not None)
    if outcome.retry_at_ms is None:
        return
    assert attempt < max_attempts or verdict is Verdict.ACCOUNT
    assert verdict in (Verdict.NOT_SENT, Verdict.PUT_OFF, Verdict.ACCOUNT) or (
        verdict is Verdict.UNCLEAR and may_resend
    )
    assert outcome.retry_at_ms >= NOW_MS + round(1000 * (retry_after_s or 0))
    assert expires_at_ms is None or outcome.retry_at_ms < expires_at_ms


NOT_SENT = [State.FAILED, State.EXPIRED, State.CANCELLED, State.SUPPRESSED]


@pytest.mark.parametrize("state", NOT_SENT)
def test_after_an_unclear_attempt_nothing_proves_that_a_number_was_not_sent(state: State) -> None:
    outcome = keep_if_maybe_sent(Outcome(state, "bad_number", "No such number", 400), was_unclear=True)
    assert (outcome.state, outcome.code, outcome.provider_status) == (State.UNKNOWN, "bad_number", 400)
    assert outcome.reason == "No such number; an earlier attempt may have been sent"


@pytest.mark.parametrize("state", sorted(set(State) - set(NOT_SENT)))
def test_an_unclear_attempt_leaves_other_outcomes_as_they_are(state: State) -> None:
    assert keep_if_maybe_sent(Outcome(state), was_unclear=True) == Outcome(state)


def test_without_an_unclear_attempt_every_outcome_stays() -> None:
    assert all(keep_if_maybe_sent(Outcome(state), was_unclear=False) == Outcome(state) for state in State)


def test_a_cancelled_number_that_may_have_been_sent_says_why_it_is_unclear() -> None:
    outcome = keep_if_maybe_sent(Outcome(State.CANCELLED), was_unclear=True)
    assert (outcome.code, outcome.reason) == (
        "cancelled",
        "The batch was cancelled; an earlier attempt may have been sent",
    )


def test_what_is_about_our_account_fails_no_number_however_often_it_was_tried() -> None:
    result = CallResult(Verdict.ACCOUNT, "http_401", "Who are you?", 401)
    for attempt in (1, 6, 60):
        outcome = decide_after_call(
            result, attempt=attempt, may_resend=False, expires_at_ms=None, now_ms=0, policy=RetryPolicy(4, (5, 30))
        )
        assert (outcome.state, outcome.code, outcome.uncounted) == (State.RETRYING, "http_401", True)
        assert (outcome.retry_at_ms or 0) <= 5000
