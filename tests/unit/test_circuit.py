"""When the circuit opens, how long it waits, and what closes it."""

import pytest

from services.sender.circuit import Circuit
from shared.domain.outcome import CallResult, Verdict

DOWN = CallResult(Verdict.NOT_SENT, "connect_failed")


def opened(at_s: float = 0.0) -> Circuit:
    circuit = Circuit()
    for _ in range(20):
        circuit.record(DOWN, at_s)
    return circuit


def test_it_opens_at_the_twentieth_failure_in_a_row_and_says_so_once() -> None:
    circuit = Circuit()
    assert [circuit.record(DOWN, 0) for _ in range(25)] == [False] * 19 + [True] + [False] * 5
    assert circuit.is_open


def test_calls_with_many_numbers_open_it_sooner() -> None:
    circuit = Circuit()
    assert [circuit.record(DOWN, 0, numbers=100) for _ in range(6)] == [False] * 4 + [True, False]
    assert circuit.record(CallResult(Verdict.ACCEPTED), 5)
    assert not circuit.record(DOWN, 5, numbers=100)


@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.REFUSED])
def test_any_answer_about_a_number_shows_that_the_provider_is_there(verdict: Verdict) -> None:
    circuit = opened()
    assert circuit.record(CallResult(verdict), 5)
    assert not circuit.is_open
    assert circuit.wait_s(5) == 0


@pytest.mark.parametrize("opening", [CallResult(Verdict.ACCOUNT, "http_402"), DOWN])
def test_a_call_that_was_begun_before_the_pause_was_over_does_not_end_it(opening: CallResult) -> None:
    circuit = Circuit()
    for _ in range(20):
        circuit.record(opening, 10)
    circuit.hold(300)
    assert not circuit.record(CallResult(Verdict.ACCEPTED), 10.5, begun_s=9)
    assert (circuit.is_open, circuit.wait_s(10.5)) == (True, 289.5)
    assert circuit.record(CallResult(Verdict.ACCEPTED), 301, begun_s=300)
    assert not circuit.is_open


def test_a_pause_that_is_over_lengthens_none_that_comes_later() -> None:
    circuit = Circuit()
    circuit.hold(300)
    circuit.release(10)
    assert circuit.record(CallResult(Verdict.ACCEPTED), 11, begun_s=10)
    for _ in range(20):
        circuit.record(DOWN, 20)
    assert circuit.wait_s(20) == 1


def test_failures_that_are_not_in_a_row_leave_it_closed() -> None:
    circuit = Circuit()
    for _ in range(100):
        circuit.record(DOWN, 0)
        circuit.record(CallResult(Verdict.ACCEPTED), 0)
    assert not circuit.is_open


def test_calls_that_were_under_way_when_it_opened_do_not_lengthen_the_pause() -> None:
    circuit = opened(at_s=10)
    for _ in range(50):
        circuit.record(DOWN, 10.5)
    assert circuit.wait_s(10.5) == 0.5


def test_every_probe_that_fails_doubles_the_pause_up_to_thirty_seconds() -> None:
    circuit, now_s, pauses = opened(), 0.0, []
    for _ in range(7):
        pauses.append(circuit.wait_s(now_s))
        now_s += pauses[-1]
        circuit.record(DOWN, now_s)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_a_pause_that_the_provider_asks_for_is_kept() -> None:
    circuit = Circuit()
    for _ in range(20):
        circuit.record(CallResult(Verdict.NOT_SENT, "throttled", retry_after_s=90), 0)
    assert circuit.wait_s(0) == 90


def test_twenty_unclear_calls_in_a_row_open_it_too_and_one_success_between_them_does_not_let_them() -> None:
    circuit = Circuit()
    unclear = CallResult(Verdict.UNCLEAR, "http_502")
    for _ in range(3):
        assert not any(circuit.record(unclear, 0) for _ in range(19))
        circuit.record(CallResult(Verdict.ACCEPTED), 0)
    assert [circuit.record(answer, 0) for answer in [unclear, DOWN] * 10] == [False] * 19 + [True]


def test_a_provider_that_has_taken_nothing_yet_or_failed_five_times_in_a_row_is_doubtful() -> None:
    circuit = Circuit()
    assert circuit.is_doubtful
    circuit.record(CallResult(Verdict.ACCEPTED), 0)
    assert not circuit.is_doubtful
    for _ in range(4):
        circuit.record(CallResult(Verdict.UNCLEAR), 0)
    assert not circuit.is_doubtful
    circuit.record(DOWN, 0)
    assert circuit.is_doubtful
    circuit.record(CallResult(Verdict.REFUSED), 0)
    assert not circuit.is_doubtful


def test_an_unclear_probe_does_not_close_it_and_pauses_grow_to_two_minutes_since_each_costs_a_number() -> None:
    circuit, now_s, pauses = opened(), 0.0, []
    for _ in range(9):
        pauses.append(circuit.wait_s(now_s))
        now_s += pauses[-1]
        assert not circuit.record(CallResult(Verdict.UNCLEAR), now_s)
    assert circuit.is_open
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 120, 120]


def test_a_pause_that_another_sender_was_told_of_holds_and_ends_with_a_probe_that_passes() -> None:
    circuit = Circuit()
    assert circuit.hold(30)
    assert not circuit.hold(20)
    assert (circuit.is_open, circuit.wait_s(5)) == (True, 25)
    assert circuit.record(CallResult(Verdict.ACCEPTED), 31)
    assert not circuit.is_open


def test_a_pause_that_is_lifted_lets_a_probe_through_at_once_and_keeps_the_circuit_open() -> None:
    circuit = Circuit()
    circuit.hold(300)
    circuit.release(10)
    assert (circuit.is_open, circuit.wait_s(10)) == (True, 0)


def test_one_refusal_of_the_account_opens_it_and_pauses_grow_to_five_minutes() -> None:
    revoked, circuit, now_s = CallResult(Verdict.ACCOUNT, "http_401"), Circuit(), 0.0
    assert circuit.record(revoked, now_s)
    pauses_s = []
    for _ in range(11):
        pauses_s.append(circuit.wait_s(now_s))
        now_s += circuit.wait_s(now_s)
        circuit.record(revoked, now_s)
    assert pauses_s == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert circuit.record(CallResult(Verdict.ACCEPTED), now_s + circuit.wait_s(now_s))
    assert not circuit.is_open
