"""What a sender publishes after a number's outcome."""

from typing import Any

import pytest

from services.sender.follow_ups import FollowUps, recorded_outcome
from shared.amqp.messages import Delivery
from shared.domain.message import MessageRow
from shared.domain.outcome import Outcome
from shared.domain.outgoing import Outgoing
from shared.domain.stale import StaleDecision, Step
from shared.domain.states import BatchState, State
from shared.messages import OutboundMessage, read_outbound
from shared.topology import Lane

NOW_MS = 1_700_000_000_000
BATCH_ID = "0198c0de-0000-8000-8000-00000000abcd"
MESSAGE = OutboundMessage(
    batch_id=BATCH_ID, row=7, attempt=1, recipient="+86138****8000", lane=Lane.PRIORITY, not_before_ms=NOW_MS - 1
)
ROW = MessageRow(
    batch_id=BATCH_ID,
    row=7,
    state=State.SENDING,
    attempt=2,
    recipient="+8613800138000",
    text="Your code is 123456",
    claimed_at_ms=NOW_MS - 5_000,
    claimed_by="sender#1",
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
FOLLOW_UPS = FollowUps(tiers_s=(5, 30, 120), sender="sender@host/1")


def delivery(body: bytes = b"{}", message_id: str | None = f"{BATCH_ID}:7") -> Delivery:
    return Delivery(body, "sms.outbound.v1", message_id, "sms.outbound.priority", ack=lambda: None)


def after(outcome: Outcome) -> Outgoing | None:
    return FOLLOW_UPS.after(MESSAGE, delivery(), ROW, outcome, NOW_MS)


def published_after(outcome: Outcome) -> Outgoing:
    outgoing = after(outcome)
    assert outgoing is not None
    return outgoing


def disposal(step: Step, row: MessageRow | None = ROW, **rest: Any) -> Outgoing | None:
    return FOLLOW_UPS.after_stale(MESSAGE, delivery(), row, StaleDecision(step, **rest), NOW_MS)


@pytest.mark.parametrize("state", [State.SENT, State.EXPIRED, State.CANCELLED, State.PENDING])
def test_nothing_follows_an_outcome_that_needs_nobody(state: State) -> None:
    assert after(Outcome(state)) is None


@pytest.mark.parametrize(
    ("wait_ms", "tier"), [(0, "5s"), (5_000, "5s"), (5_001, "30s"), (60_000, "2m"), (120_000, "2m"), (10**9, "2m")]
)
def test_a_retry_goes_to_the_tier_that_is_long_enough_on_its_own_lane(wait_ms: int, tier: str) -> None:
    outgoing = published_after(Outcome(State.RETRYING, "http_503", retry_at_ms=NOW_MS + wait_ms))
    assert (outgoing.exchange, outgoing.routing_key) == ("sms.retry", f"{tier}.priority")


@pytest.mark.parametrize("wait_ms", [0, 1, 3_333, 5_000, 17_001, 119_999, 120_000])
def test_a_retry_comes_back_neither_early_nor_later_than_its_tier(wait_ms: int) -> None:
    outgoing = FOLLOW_UPS.later(MESSAGE, 2, NOW_MS + wait_ms, NOW_MS)
    assert outgoing.expiration_ms is not None
    tier_ms = {"5s": 5_000, "30s": 30_000, "2m": 120_000}[outgoing.routing_key.partition(".")[0]]
    assert wait_ms <= outgoing.expiration_ms <= tier_ms


def test_a_retry_says_how_many_attempts_were_made_and_no_number() -> None:
    outgoing = published_after(Outcome(State.RETRYING, "http_503", retry_at_ms=NOW_MS + 5_000))
    assert read_outbound(outgoing.type, outgoing.body) == OutboundMessage(
        batch_id=BATCH_ID, row=7, attempt=2, recipient="+86138****8000", lane=Lane.PRIORITY
    )
    assert (outgoing.message_id, outgoing.correlation_id) == (f"{BATCH_ID}:7", BATCH_ID)
    assert outgoing.timestamp_s == NOW_MS // 1000


def test_a_pause_longer_than_every_tier_is_carried_along() -> None:
    at_ms = NOW_MS + 120_001
    outgoing = FOLLOW_UPS.later(MESSAGE, 2, at_ms, NOW_MS)
    assert read_outbound(outgoing.type, outgoing.body).not_before_ms == at_ms
    assert outgoing.expiration_ms == 120_000


def test_a_retry_whose_time_has_passed_goes_to_the_shortest_tier() -> None:
    outgoing = FOLLOW_UPS.later(MESSAGE, 2, NOW_MS - 10_000, NOW_MS)
    assert outgoing.routing_key == "5s.priority"
    assert outgoing.expiration_ms is not None
    assert 4_000 <= outgoing.expiration_ms <= 5_000


def test_numbers_that_failed_together_do_not_come_back_together() -> None:
    outcome = Outcome(State.RETRYING, "http_503", retry_at_ms=NOW_MS + 24_000)
    assert len({published_after(outcome).expiration_ms for _ in range(100)}) > 1


@pytest.mark.parametrize(("state", "key"), [(State.FAILED, "outbound"), (State.UNKNOWN, "unknown")])
def test_a_failed_and_an_unclear_number_become_dead_letters_that_explain_themselves(state: State, key: str) -> None:
    outgoing = published_after(Outcome(state, "bad_number", "No such number", 400))
    assert (outgoing.exchange, outgoing.routing_key) == ("sms.dead-letter", key)
    assert outgoing.headers == {
        "x-error-code": "bad_number",
        "x-error-reason": "No such number",
        "x-provider": "default",
        "x-provider-status": 400,
        "x-attempts": 2,
        "x-first-at": "2023-11-14T22:12:20.000Z",
        "x-failed-at": "2023-11-14T22:13:20.000Z",
        "x-failed-by": "sender@host/1",
        "x-original-queue": "sms.outbound.priority",
        "x-batch-id": BATCH_ID,
    }


@pytest.mark.parametrize("state", [State.FAILED, State.UNKNOWN])
def test_a_dead_letter_moved_back_by_hand_may_follow_the_attempt_that_it_tells_of(state: State) -> None:
    outgoing = published_after(Outcome(state, "bad_number", "No such number", 400))
    message = read_outbound(outgoing.type, outgoing.body)
    assert (message.attempt, message.lane, message.message_id) == (ROW.attempt, Lane.PRIORITY, MESSAGE.message_id)


@pytest.mark.parametrize("state", [State.RETRYING, State.FAILED, State.UNKNOWN])
def test_no_follow_up_shows_the_number_or_the_text(state: State) -> None:
    shown = repr(published_after(Outcome(state, "code", "reason")))
    assert "13800138000" not in shown
    assert ROW.text not in shown


def test_a_claim_at_work_is_looked_at_again_when_its_lease_has_ended() -> None:
    outgoing = disposal(Step.WAIT, wait_ms=15_000)
    assert outgoing is not None
    assert outgoing.routing_key == "30s.priority"
    assert read_outbound(outgoing.type, outgoing.body).attempt == MESSAGE.attempt


@pytest.mark.parametrize("step", [Step.SKIP, Step.PARK, Step.CANCEL])
def test_nothing_follows_a_delivery_that_the_ledger_takes_care_of(step: Step) -> None:
    assert disposal(step) is None


@pytest.mark.parametrize(
    ("state", "key"), [(State.RETRYING, "5s.priority"), (State.FAILED, "outbound"), (State.UNKNOWN, "unknown")]
)
def test_a_repeated_follow_up_is_the_one_that_the_ledger_recorded(state: State, key: str) -> None:
    row = ROW._replace(
        state=state, error_code="code", error_reason="reason", provider_status=500, retry_at_ms=NOW_MS + 1_000
    )
    outgoing = disposal(Step.REPEAT, row)
    assert outgoing is not None
    assert outgoing.routing_key == key
    assert read_outbound(outgoing.type, outgoing.body).attempt == 2
    if state is not State.RETRYING:
        assert (outgoing.headers["x-error-code"], outgoing.headers["x-error-reason"]) == ("code", "reason")


def test_a_claim_whose_sender_died_goes_to_the_unclear_ones() -> None:
    row = ROW._replace(state=State.UNKNOWN, error_code="sender_died", error_reason="The sender died")
    outgoing = disposal(Step.HOLD, row)
    assert outgoing is not None
    assert outgoing.routing_key == "unknown"
    assert outgoing.headers["x-error-code"] == "sender_died"


def test_a_rejected_message_is_dead_lettered_as_it_was() -> None:
    rejected = StaleDecision(Step.REJECT, code="not_in_ledger", reason="The ledger has no such batch and row")
    outgoing = FOLLOW_UPS.after_stale(MESSAGE, delivery(b'{"as": "it was"}'), None, rejected, NOW_MS)
    assert outgoing is not None
    assert (outgoing.routing_key, outgoing.body) == ("outbound", b'{"as": "it was"}')
    assert outgoing.headers["x-error-code"] == "not_in_ledger"
    assert outgoing.headers["x-error-reason"] == "The ledger has no such batch and row"


@pytest.mark.parametrize(
    ("message_id", "batch_id"), [(f"{BATCH_ID}:7", BATCH_ID), (None, ""), ("anything", "anything")]
)
def test_an_unreadable_message_keeps_its_body_and_its_id(message_id: str | None, batch_id: str) -> None:
    outgoing = FOLLOW_UPS.unreadable(delivery(b"\xff", message_id), "body is not JSON", NOW_MS)
    assert (outgoing.routing_key, outgoing.body) == ("outbound", b"\xff")
    assert (outgoing.message_id, outgoing.correlation_id) == (message_id or "", batch_id)
    assert outgoing.headers["x-error-code"] == "unreadable_message"
    assert outgoing.headers["x-error-reason"] == "Not a message we know: body is not JSON"


def test_a_recorded_outcome_is_what_the_row_says() -> None:
    row = ROW._replace(
        state=State.RETRYING, error_code="code", error_reason="reason", provider_status=429, retry_at_ms=NOW_MS
    )
    assert recorded_outcome(row) == Outcome(State.RETRYING, "code", "reason", 429, retry_at_ms=NOW_MS)
