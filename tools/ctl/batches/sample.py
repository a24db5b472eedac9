"""The sample batch: recipients that meet everything which can happen to a number, the same at every call; pure."""

from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from shared.domain.states import State

FEWEST, MOST = 20, 100_000
CONTENT = "【示例】您的包裹已到，取件码 8652。"

# 154 is given to no operator: should this ever reach a real provider, it rings nobody's phone.
_PREFIX = "154"
_ORDINARY_ENDINGS = 9000  # the simulator's special endings are above


class Group(NamedTuple):
    """Recipients that share a fate: how many of a thousand, what they look like, how they end and why."""

    name: str
    per_mille: int
    looks: str
    ends: State
    why: str
    ending: str = ""


GROUPS = (
    Group("slow", 10, "…9001", State.SENT, "the provider takes a second to answer", "9001"),
    Group("throttled", 20, "…9002", State.SENT, "429 with Retry-After, accepted when tried again", "9002"),
    Group("unavailable", 20, "…9003", State.SENT, "503, accepted when tried again", "9003"),
    Group("refused", 20, "…9005", State.FAILED, "refused for good (400 number_unreachable): a dead letter", "9005"),
    Group("error", 5, "…9006", State.UNKNOWN, "500: it may have been sent, so it is held", "9006"),
    Group("late", 5, "…9007", State.UNKNOWN, "no answer in time: it may have been sent, so it is held", "9007"),
    Group("reset", 5, "…9008", State.UNKNOWN, "connection reset: it may have been sent, so it is held", "9008"),
    Group(
        "garbage", 5, "…9009", State.UNKNOWN, "an answer that is no JSON: it may have been sent, so it is held", "9009"
    ),
    Group("short", 5, "four digits", State.INVALID, "too few digits for a phone number"),
    Group("letters", 5, "letters", State.INVALID, "not a phone number"),
    Group("repeated", 20, "as an earlier one", State.DUPLICATE, "the same number is there already, written otherwise"),
)
ORDINARY = Group("ordinary", 0, "any other", State.SENT, "accepted at the first call")


def composition(recipients: int) -> dict[Group, int]:
    """How many recipients each group has in a sample of that size (`FEWEST` to `MOST`); the sum is `recipients`."""
    sizes = {group: max(1, recipients * group.per_mille // 1000) for group in GROUPS}
    return {ORDINARY: recipients - sum(sizes.values()), **sizes}


def sample_recipients(recipients: int) -> list[str]:
    """The sample batch's recipients, the groups mixed."""
    everyone = [number for group, size in composition(recipients).items() for number in _numbers(group, size)]
    return sorted(everyone, key=lambda number: (crc32(number.encode()), number))


def _numbers(group: Group, size: int) -> Iterator[str]:
    for index in range(size):
        yield _number(group, index)


def _number(group: Group, index: int) -> str:
    if group.ending:
        return f"{_PREFIX}{index:04d}{group.ending}"
    if group.name == "short":
        return f"{index:04d}"
    if group.name == "letters":
        return f"letters-{index}"
    block, ending = divmod(index, _ORDINARY_ENDINGS)
    ordinary = f"{_PREFIX}{block:04d}{ending:04d}"
    return f"+86 {ordinary[:3]} {ordinary[3:7]} {ordinary[7:]}" if group.name == "repeated" else ordinary
