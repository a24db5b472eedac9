"""Which tier a retry waits in, and for how long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.retry import expiration_ms, tier_for

TIERS_S = (5.0, 30.0, 120.0)

tiers = st.lists(st.floats(0.01, 10**5), min_size=1, max_size=6, unique=True).map(sorted)
waits_ms = st.integers(0, 10**8)
randoms = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("wait_s", "tier_s"), [(0, 5), (4.9, 5), (5, 5), (5.001, 30), (30, 30), (31, 120), (120, 120), (9999, 120)]
)
def test_a_wait_takes_the_shortest_tier_that_is_long_enough_or_the_longest(wait_s: float, tier_s: float) -> None:
    assert tier_for(wait_s, TIERS_S) == tier_s


@settings(deadline=None)
@given(tiers_s=tiers, wait_ms=waits_ms, random=randoms)
def test_a_wait_that_a_tier_is_long_enough_for_is_never_cut_short(
    tiers_s: list[float], wait_ms: int, random: float
) -> None:
    tier_s = tier_for(wait_ms / 1000, tiers_s)
    expiration = expiration_ms(tier_s, wait_ms / 1000, random)
    assert expiration >= min(wait_ms, round(1000 * tier_s))


@settings(deadline=None)
@given(tiers_s=tiers, wait_ms=waits_ms, random=randoms)
def test_a_message_never_waits_longer_than_its_tier_nor_a_fifth_shorter_than_it(
    tiers_s: list[float], wait_ms: int, random: float
) -> None:
    tier_s = tier_for(wait_ms / 1000, tiers_s)
    assert round(800 * tier_s) <= expiration_ms(tier_s, wait_ms / 1000, random) <= round(1000 * tier_s)


@pytest.mark.parametrize(("random", "ttl_ms"), [(0.0, 5000), (0.25, 4750), (0.5, 4500), (0.999, 4001)])
def test_a_wait_that_leaves_room_is_spread_over_the_last_fifth_of_the_tier(random: float, ttl_ms: int) -> None:
    assert expiration_ms(5, 0, random) == ttl_ms
