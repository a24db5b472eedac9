"""More senders: one and five of them with a provider that takes 100 ms, so that each has few calls under way."""

from dataclasses import dataclass

from benchmarks import drain
from benchmarks.contenders import Ours
from benchmarks.parts import Parts

MANY = 5
PREFETCH = 20
NUMBERS_EACH = 2_000


@dataclass(frozen=True, slots=True)
class Scaling:
    """Numbers per second, a figure for each round."""

    one: list[float]
    many: list[float]


def measured(parts: Parts, rounds: int) -> Scaling:
    """One sender and five in turns; batches so large that both take as long."""
    seen = Scaling([], [])
    for turn in range(rounds):
        for senders, rates in ((1, seen.one), (MANY, seen.many)):
            ours = Ours(f"{senders} senders", "slow", {"SMS_PREFETCH": str(PREFETCH)}, senders)
            rates.append(drain.drained(parts, ours, senders * NUMBERS_EACH).numbers_per_s)
        print(f"  round {turn + 1}: {seen.one[-1]:,.0f} numbers/s, {MANY} senders {seen.many[-1]:,.0f}", flush=True)
    return seen
