"""When a number's message is held to be lost, and what becomes of the number then."""

import dataclasses

import pytest

from services.dispatcher.recovery import QueueWatch
from shared.domain.recovery import RecoveryTimeouts, StillRow, UnsettledBatch, decide_recovery, expected_by_ms
from shared.domain.states import BatchState, State

NOW_MS = 1_700_000_000_000
PATIENCE = RecoveryTimeouts(recover_after_s=900, lease_ms=18_000, tiers_s=(5, 30, 600))
ROW = StillRow(
    row=3,
    state=State.QUEUED,
    attempt=1,
    recipient="+8613800138000",
    updated_at_ms=NOW_MS,
    retry_at_ms=None,
    first_at_ms=None,
    recoveries=0,
    was_unclear=False,
)
BATCH = UnsettledBatch("b", BatchState.RUNNING, "bulk", "default", may_resend=False, unwritten=0, written_at_ms=NOW_MS)


def row(state: State, **fields: object) -> StillRow:
    return dataclasses.replace(ROW, state=state, **fields)


def batch(**fields: object) -> UnsettledBatch:
    return dataclasses.replace(BATCH, **fields)


def test_a_queued_number_is_expected_at_once() -> None:
    assert expected_by_ms(row(State.QUEUED), PATIENCE) == NOW_MS


def test_a_number_in_a_call_is_expected_when_its_lease_is_over() -> None:
    assert expected_by_ms(row(State.SENDING), PATIENCE) == NOW_MS + 18_000


@pytest.mark.parametrize(("wait_s", "tier_s"), [(4, 5), (5, 5), (6, 30), (31, 600), (2000, 600)])
def test_a_retry_is_expected_when_its_tier_has_let_it_out(wait_s: int, tier_s: int) -> None:
    waiting = row(State.RETRYING, retry_at_ms=NOW_MS + 1000 * wait_s)
    assert expected_by_ms(waiting, PATIENCE) == NOW_MS + 1000 * (wait_s + tier_s)


@pytest.mark.parametrize("state", [State.QUEUED, State.RETRYING])
@pytest.mark.parametrize("batch_state", [BatchState.RUNNING, BatchState.PAUSED])
def test_a_number_that_was_not_called_is_fed_again(state: State, batch_state: BatchState) -> None:
    assert decide_recovery(row(state), batch(state=batch_state)).state is State.PENDING


def test_a_number_in_a_dead_call_is_unknown() -> None:
    outcome = decide_recovery(row(State.SENDING), BATCH)
    assert (outcome.state, outcome.code) == (State.UNKNOWN, "sender_died")


def test_a_number_in_a_dead_call_is_fed_again_where_the_batch_says_so() -> None:
    assert decide_recovery(row(State.SENDING), batch(may_resend=True)).state is State.PENDING


def test_a_cancelled_batch_does_not_resend() -> None:
    outcome = decide_recovery(row(State.SENDING), batch(may_resend=True, state=BatchState.CANCELLED))
    assert outcome.state is State.UNKNOWN


@pytest.mark.parametrize("state", [State.PENDING, State.QUEUED, State.RETRYING])
def test_what_a_cancelled_batch_left_is_cancelled(state: State) -> None:
    assert decide_recovery(row(state), batch(state=BatchState.CANCELLED)).state is State.CANCELLED


def test_what_may_have_been_sent_is_never_cancelled_nor_failed() -> None:
    maybe = row(State.RETRYING, was_unclear=True, recoveries=5)
    assert decide_recovery(maybe, batch(state=BatchState.CANCELLED)).state is State.UNKNOWN
    assert decide_recovery(maybe, BATCH).state is State.UNKNOWN


def test_a_number_whose_message_is_lost_again_and_again_fails() -> None:
    assert decide_recovery(row(State.QUEUED, recoveries=4), BATCH).state is State.PENDING
    outcome = decide_recovery(row(State.QUEUED, recoveries=5), BATCH)
    assert (outcome.state, outcome.code) == (State.FAILED, "undeliverable")
    assert outcome.reason == "Its message was published 6 times and lost each time"


async def test_the_watch_remembers_when_a_queue_was_empty() -> None:
    depths = iter([5, 0, None, 7])

    async def ask(_queue: str) -> int | None:
        return next(depths)

    watch = QueueWatch(ask)
    assert (await watch.depth("q"), watch.emptied_at_ms("q")) == (5, 0)
    assert await watch.depth("q") == 0
    emptied_at_ms = watch.emptied_at_ms("q")
    assert emptied_at_ms > NOW_MS
    assert [await watch.depth("q"), await watch.depth("q")] == [None, 7]
    assert watch.emptied_at_ms("q") == emptied_at_ms


@pytest.mark.parametrize(("recover_after_s", "every_s"), [(0.1, 0.5), (8, 2), (900, 60)])
def test_it_looks_often_enough_and_not_too_often(recover_after_s: float, every_s: float) -> None:
    assert dataclasses.replace(PATIENCE, recover_after_s=recover_after_s).look_every_s == every_s
