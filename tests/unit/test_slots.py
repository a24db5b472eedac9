"""Slots are given in their order, those that are missed to nobody, and no second has more calls than the rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sender.rate_limiter import interval_of
from services.sender.slots import LATEST_S, Slots, is_missed


@given(rate=st.integers(1, 5000))
def test_no_second_has_more_calls_than_the_rate_however_late_they_are(rate: int) -> None:
    # The first as late as may be, and all after it in time.
    assert math.floor((1 + LATEST_S) / interval_of(rate)) + 1 <= rate
    assert 0.95 <= 1 / (interval_of(rate) * rate) <= 1


def taken(slots: Slots, number: int) -> float:
    first_s = slots.first_s
    slots.take(number)
    return first_s


def test_a_call_of_several_units_takes_their_slots_across_what_was_reserved() -> None:
    slots = Slots()
    slots.add(10.0, 1.0, 3)
    slots.add(20.0, 2.0, 3)
    assert slots.lacking(6, 0.0) == 0
    assert [taken(slots, 1), taken(slots, 3), taken(slots, 2)] == [10.0, 11.0, 22.0]
    assert slots.lacking(2, 0.0) == 2


def test_missed_slots_are_left_out() -> None:
    slots = Slots()
    slots.add(10.0, 1.0, 3)
    assert slots.lacking(3, 10.0 + LATEST_S) == 0
    assert slots.lacking(3, 11.5) == 2
    assert taken(slots, 1) == 12.0
    assert slots.lacking(1, 11.5) == 1


@given(
    rows=st.lists(st.tuples(st.floats(0, 10), st.floats(0.001, 1), st.integers(1, 50)), min_size=1, max_size=5),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), max_size=30),
)
def test_what_is_given_is_never_missed_and_nothing_is_given_twice(
    rows: list[tuple[float, float, int]], steps: list[tuple[float, int]]
) -> None:
    slots, now_s, given_ = Slots(), 0.0, 0
    for row in sorted(rows):
        slots.add(*row)
    for passed_s, units in steps:
        now_s += passed_s
        if slots.lacking(units, now_s):
            continue
        assert not is_missed(taken(slots, units), now_s - 1e-6)
        given_ += units
    assert given_ <= sum(number for _, _, number in rows)
    with pytest.raises(IndexError):
        slots.take(1 + sum(number for _, _, number in rows) - given_)
