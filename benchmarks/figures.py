"""What is computed from measured values: percentiles, ratios of rounds, the tenths of a long run. No I/O, no clock."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times one figure is another: of their medians, and the lowest and highest of the single rounds."""

    of_medians: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{short(self.of_medians)} ({short(self.lowest)} to {short(self.highest)})"


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Compare two figures round by round; ValueError unless both have the same rounds, at least one."""
    by_round = [above / below for above, below in zip(numerators, denominators, strict=True)]
    if not by_round:
        raise ValueError("no round was measured")
    return Ratio(statistics.median(numerators) / statistics.median(denominators), min(by_round), max(by_round))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not exceeded by that share of all (nearest rank); ValueError for no values."""
    if not values:
        raise ValueError("no values")
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def rotated(items: Sequence[Item], by: int) -> list[Item]:
    """The items in the same order, beginning with another one."""
    start = by % len(items)
    return [*items[start:], *items[:start]]


def tenth_rates(progress: Sequence[tuple[float, int]], total: int) -> list[float]:
    """Numbers per second in each tenth of a run.

    `progress` holds (seconds, numbers done), both ascending, from (0, 0) until `total` is done. The moment between two
    looks at which a tenth was full is taken as if the rate between them had been even.
    """
    ends_s = [0.0, *(_when(progress, total * tenth / 10) for tenth in range(1, 11))]
    return [total / 10 / (after - before) for before, after in pairwise(ends_s)]


def _when(progress: Sequence[tuple[float, int]], count: float) -> float:
    for (before_s, before), (after_s, after) in pairwise(progress):
        if before < count <= after:
            return before_s + (after_s - before_s) * (count - before) / (after - before)
    raise ValueError(f"{count:g} numbers were never done")


def short(figure: float) -> str:
    """Three significant digits, as people write them: 2,210 · 14.3 · 0.52."""
    rounded = float(f"{figure:.3g}")
    if rounded == 0 or not math.isfinite(rounded):
        return f"{rounded:g}"
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"
