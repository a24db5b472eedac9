"""What becomes of a delivery whose row could not be claimed, for every way in which the row can stand."""

import pytest

from shared.domain.message import MessageRow
from shared.domain.stale import StaleDecision, Step, decide_stale
from shared.domain.states import BatchState, State
from shared.messages import OutboundMessage

NOW_MS = 1_700_000_000_000
LEASE_MS = 15_000
MESSAGE = OutboundMessage(batch_id="0198c0de-0000-8000-8000-00000000abcd", row=7, attempt=2)
ROW = MessageRow(
    batch_id=MESSAGE.batch_id,
    row=7,
    state=State.QUEUED,
    attempt=2,
    recipient="+8613800138000",
    text="hello",
    claimed_at_ms=NOW_MS - 5_000,
    claimed_by="another#1",
    first_at_ms=NOW_MS - 60_000,
    retry_at_ms=None,
    error_code=None,
    error_reason=None,
    provider_status=None,
    was_unclear=False,
    batch_state=BatchState.RUNNING,
    provider="default",
    pin="default",
    may_resend=False,
    expires_at_ms=None,
)

NEVER_SENT = (State.EXPIRED, State.INVALID, State.DUPLICATE, State.SUPPRESSED, State.CANCELLED)
UNCANCELLED = [state for state in BatchState if state is not BatchState.CANCELLED]
SENDABLE = (State.PENDING, State.QUEUED, State.RETRYING, State.FAILED)


def step(state: State, attempts_ahead: int, batch_state: BatchState = BatchState.RUNNING) -> Step:
    row = ROW._replace(state=state, attempt=MESSAGE.attempt + attempts_ahead, batch_state=batch_state)
    return decide_stale(MESSAGE.attempt, row, NOW_MS, LEASE_MS).step


def claimed(ago_ms: int | None) -> StaleDecision:
    claimed_at_ms = None if ago_ms is None else NOW_MS - ago_ms
    row = ROW._replace(state=State.SENDING, attempt=3, claimed_at_ms=claimed_at_ms)
    return decide_stale(MESSAGE.attempt, row, NOW_MS, LEASE_MS)


def test_a_row_that_the_ledger_does_not_have_is_rejected_with_its_reason() -> None:
    disposal = decide_stale(MESSAGE.attempt, None, NOW_MS, LEASE_MS)
    assert disposal == StaleDecision(Step.REJECT, 0, "not_in_ledger", "The ledger has no such batch and row")


@pytest.mark.parametrize("batch_state", BatchState)
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("attempts_ahead", [-2, -1])
def test_a_message_ahead_of_the_ledger_is_rejected(attempts_ahead: int, state: State, batch_state: BatchState) -> None:
    assert step(state, attempts_ahead, batch_state) is Step.REJECT


def test_a_message_ahead_of_the_ledger_tells_both_counts() -> None:
    disposal = decide_stale(MESSAGE.attempt, ROW._replace(attempt=1), NOW_MS, LEASE_MS)
    assert disposal.code == "ahead_of_ledger"
    assert disposal.reason == "The ledger counts 1 attempts, the message 2: was the ledger restored?"


@pytest.mark.parametrize("batch_state", BatchState)
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("attempts_ahead", [2, 3])
def test_a_copy_that_a_later_message_has_overtaken_is_skipped(
    attempts_ahead: int, state: State, batch_state: BatchState
) -> None:
    assert step(state, attempts_ahead, batch_state) is Step.SKIP


@pytest.mark.parametrize("batch_state", BatchState)
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.RETRYING, Step.REPEAT),
        (State.FAILED, Step.REPEAT),
        (State.UNKNOWN, Step.REPEAT),
        (State.SENT, Step.SKIP),
        (State.PENDING, Step.SKIP),
        (State.QUEUED, Step.SKIP),
        *((state, Step.SKIP) for state in NEVER_SENT),
    ],
)
def test_a_message_whose_claim_was_recorded_has_its_follow_up_repeated_if_it_has_one(
    state: State, expected: Step, batch_state: BatchState
) -> None:
    assert step(state, 1, batch_state) is expected


@pytest.mark.parametrize("attempts_ahead", [0, 1])
@pytest.mark.parametrize("batch_state", BatchState)
def test_a_claim_at_work_is_waited_for_whatever_the_batch_does(attempts_ahead: int, batch_state: BatchState) -> None:
    assert step(State.SENDING, attempts_ahead, batch_state) is Step.WAIT


@pytest.mark.parametrize(("ago_ms", "wait_ms"), [(0, 15_000), (5_000, 10_000), (14_999, 1), (-1_000, 16_000)])
def test_a_running_lease_is_waited_for_to_its_end(ago_ms: int, wait_ms: int) -> None:
    assert claimed(ago_ms) == StaleDecision(Step.WAIT, wait_ms=wait_ms)


@pytest.mark.parametrize("ago_ms", [15_000, 15_001, 10**9, None])
def test_a_claim_whose_lease_has_ended_is_held_as_unclear(ago_ms: int | None) -> None:
    assert claimed(ago_ms) == StaleDecision(Step.HOLD)


def test_a_message_that_may_go_round_for_long_goes_slowly() -> None:
    row = ROW._replace(state=State.PENDING, batch_state=BatchState.PAUSED)
    assert decide_stale(MESSAGE.attempt, row, NOW_MS, LEASE_MS).wait_ms >= 4_000


@pytest.mark.parametrize(
    ("state", "batch_state", "expected"),
    [
        *((state, BatchState.CANCELLED, Step.CANCEL) for state in SENDABLE),
        *((State.PENDING, other, Step.WAIT) for other in UNCANCELLED),
        *((state, other, Step.PARK) for state in SENDABLE if state is not State.PENDING for other in UNCANCELLED),
        *((state, other, Step.SKIP) for state in (State.SENT, *NEVER_SENT) for other in BatchState),
        *((State.UNKNOWN, other, Step.REPEAT) for other in BatchState),
    ],
)
def test_a_row_that_is_not_begun_is_settled_by_its_state_and_its_batchs(
    state: State, batch_state: BatchState, expected: Step
) -> None:
    assert step(state, 0, batch_state) is expected


@pytest.mark.parametrize("batch_state", BatchState)
@pytest.mark.parametrize("attempts_ahead", [0, 1, 2])
@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
def test_a_message_of_a_number_that_another_batch_has_is_skipped(
    state: State, attempts_ahead: int, batch_state: BatchState
) -> None:
    attempt = MESSAGE.attempt + attempts_ahead
    row = ROW._replace(state=state, attempt=attempt, batch_state=batch_state, is_resent=True)
    assert decide_stale(MESSAGE.attempt, row, NOW_MS, LEASE_MS).step is Step.SKIP
