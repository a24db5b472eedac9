"""How a process keeps the ledger's time, by what the clocks say at one look after another."""

import pytest

from shared.clock import Reading
from shared.ledger.clock import LedgerTime

S = 1_000_000_000
SETTLED_NS = 20 * S
RIGHT = Reading(0, 0)


def at(ahead_s: float, within_s: float = 0) -> Reading:
    """A clock that is so far ahead of the one that is right, read within that time."""
    return Reading(round((ahead_s - within_s) * S), round((ahead_s + within_s) * S))


@pytest.fixture
def kept() -> LedgerTime:
    """The time after a first look at clocks that agree."""
    time = LedgerTime(SETTLED_NS)
    time.look(0, RIGHT, RIGHT)
    assert time.is_right
    return time


def test_before_the_ledgers_clock_was_asked_no_clock_is_right() -> None:
    time = LedgerTime(SETTLED_NS)
    time.look(0, RIGHT, None)
    assert not time.is_right
    assert time.began_at_ns is None


@pytest.mark.parametrize("ahead_s", [-3600, -5.1, 5.1, 3600])
def test_a_machine_that_is_far_from_the_ledger_is_wrong_and_its_time_is_the_ledgers(ahead_s: float) -> None:
    time = LedgerTime(SETTLED_NS)
    time.look(0, at(ahead_s), RIGHT)
    assert not time.is_right
    assert time.difference_ns == ahead_s * S
    assert time.began_at_ns == 0


def test_a_machine_that_jumps_while_the_ledger_cannot_be_asked_is_wrong_until_it_is_put_right(kept: LedgerTime) -> None:
    kept.look(2 * S, at(3600), None)
    assert not kept.is_right
    kept.look(4 * S, at(4.9), None)
    assert kept.is_right
    assert kept.began_at_ns == 0


@pytest.mark.parametrize("ahead_s", [-4, 4])
def test_a_small_correction_is_followed_in_small_steps(kept: LedgerTime, ahead_s: float) -> None:
    went = []
    for look in range(25):
        before_ns = kept.began_at_ns or 0
        kept.look(2 * S * look, RIGHT, at(ahead_s))
        went.append(abs((kept.began_at_ns or 0) - before_ns))
        assert kept.is_right
    assert max(went) <= 0.2 * S
    assert kept.began_at_ns == ahead_s * S


def test_an_answer_that_took_long_is_no_evidence(kept: LedgerTime) -> None:
    kept.look(60 * S, at(-40, within_s=41), at(50, within_s=55))
    assert kept.is_right
    assert kept.began_at_ns == 0


@pytest.mark.parametrize("ahead_s", [-3600, 3600])
def test_a_ledger_that_jumps_is_followed_when_the_leases_from_before_have_ended(
    kept: LedgerTime, ahead_s: float
) -> None:
    kept.look(10 * S, RIGHT, at(ahead_s))
    kept.look(29 * S, RIGHT, at(ahead_s))
    assert not kept.is_right
    assert kept.began_at_ns == 0
    kept.look(30 * S, RIGHT, at(ahead_s))
    assert kept.began_at_ns == ahead_s * S
    assert kept.difference_ns == -ahead_s * S  # now it is the machine that is wrong
    kept.look(32 * S, at(ahead_s), at(ahead_s))
    assert kept.is_right


def test_a_clock_that_jumps_again_is_waited_for_again(kept: LedgerTime) -> None:
    kept.look(10 * S, RIGHT, at(3600))
    kept.look(29 * S, RIGHT, at(7200))
    kept.look(48 * S, RIGHT, at(7200))
    assert kept.began_at_ns == 0
    kept.look(49 * S, at(7200), at(7200))
    assert kept.is_right
    assert kept.began_at_ns == 7200 * S


def test_a_jump_that_is_taken_back_changes_nothing(kept: LedgerTime) -> None:
    kept.look(10 * S, at(3600), at(3600))
    assert not kept.is_right
    kept.look(12 * S, RIGHT, RIGHT)
    assert kept.is_right
    assert kept.began_at_ns == 0
