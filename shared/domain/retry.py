"""Which retry tier a message waits in, and for how long."""

from collections.abc import Sequence

JITTER = 0.2
"""The part of a tier's delay that chance may take off."""


def tier_for(wait_s: float, tiers_s: Sequence[float]) -> float:
    """The shortest tier that waits at least that long, or the longest there is (seconds)."""
    return next((tier_s for tier_s in tiers_s if tier_s >= wait_s), tiers_s[-1])


def expiration_ms(tier_s: float, wait_s: float, random: float) -> int:
    """A message's own TTL in a tier: up to a fifth shorter than the tier's, never shorter than the wait asked for.

    `random` is in [0, 1). A quorum queue expires messages only at its head, so the jitter spreads numbers that failed
    at different moments, and cannot hold one longer than the tier does.
    """
    return round(1000 * max(tier_s * (1 - JITTER * random), min(wait_s, tier_s)))
