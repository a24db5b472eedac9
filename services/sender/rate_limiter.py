"""The pace of provider calls, which all senders keep together."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from services.sender.slots import Slots, is_missed
from shared.domain.outcome import CallResult
from shared.ledger.provider_days import ProviderDays
from shared.ledger.provider_gates import Cause, ProviderGates, Standing
from shared.ledger.waiting import when_ledger_answers
from shared.providers import Unit

_SPAN_S = 0.25
"""What is reserved at a time."""
_USED = 0.96
"""Of the rate: as many calls as have their slots in a second and `LATEST_S` may fall into one second, and are no more
than the rate."""
_SOONEST_S = 0.02
"""How far ahead the first slot is, so that there is time to claim what is called in it."""
_CLOCKS_COMPARED = 16
_MOST_MISSED = 2
"""How many slots a call may miss: on a machine where it misses each, it is made late rather than never."""


@dataclass(frozen=True, slots=True)
class DailyLimit:
    """So many units in a day of this zone, by all senders together."""

    days: ProviderDays
    units: int
    zone: ZoneInfo

    def day(self, now: datetime) -> str:
        """The day's name."""
        return now.astimezone(self.zone).date().isoformat()

    def left_s(self, now: datetime) -> float:
        """How long the day lasts still."""
        here = now.astimezone(self.zone)
        tomorrow = datetime.combine(here.date() + timedelta(days=1), datetime.min.time(), self.zone)
        return (tomorrow - now).total_seconds()


def interval_of(per_s: float) -> float:
    """From one slot to the next."""
    return 1 / (per_s * _USED)


class RateLimiter:
    """Reserves calls, or what else the provider counts, at its rate; where there is none, all may be made at once."""

    def __init__(
        self,
        gates: ProviderGates,
        provider: str,
        per_s: float | None,
        longest_pause_s: float,
        unit: Unit = "calls",
        daily: DailyLimit | None = None,
    ) -> None:
        self._gates, self._provider, self._longest_pause_s = gates, provider, longest_pause_s
        self._per_s, self.unit, self._daily = per_s, unit, daily
        self.pace = 1.0
        """The share of the rate that is used just now."""
        self._slots, self._asking, self._wanted = Slots(), asyncio.Lock(), 0
        self._ahead_s: deque[float] = deque(maxlen=_CLOCKS_COMPARED)
        """Of the last reservations: how much our clock was ahead of the ledger's when the answer was here."""

    @property
    def is_paced(self) -> bool:
        """Whether there is a rate."""
        return self._per_s is not None

    @property
    def most_at_once(self) -> int | None:
        """How many units to reserve at a time; None for any number."""
        return None if self._per_s is None else max(1, int(self._per_s * self.pace * _SPAN_S))

    @property
    def is_needed(self) -> bool:
        """Whether anything is counted at all."""
        return self._per_s is not None or self._daily is not None

    async def take_of_day(self, units: int) -> float | None:
        """Use units of the day's limit; where fewer are left, how long the day lasts still."""
        daily = self._daily
        if daily is None:
            return None
        now = datetime.now(UTC)
        day = daily.day(now)
        if await when_ledger_answers(lambda: daily.days.take(self._provider, day, units, daily.units)):
            return None
        return daily.left_s(now)

    async def reserve(self, units: int) -> float | None:
        """Reserve units ahead; the slot of the first, by the monotonic clock; None where there is no rate."""
        if self._per_s is None:
            return None
        interval_s = interval_of(self._per_s * self.pace)
        slot = await when_ledger_answers(lambda: self._gates.reserve(self._provider, units, interval_s, _SOONEST_S))
        # The quickest of some answers says how the clocks stand: a slow one would make a slot that has passed look as
        # if it were to come.
        self._ahead_s.append(time.monotonic() - slot.now_us / 1_000_000)
        first_s = slot.first_us / 1_000_000 + min(self._ahead_s)
        self._slots.add(first_s, interval_s, units)
        return first_s

    async def turn(self, units: int, latest_s: float) -> bool:
        """Wait until a call with so many units may be made; False where it may not before that moment of the monotonic
        clock. Slots are given in the order in which they are asked for."""
        for missed in range(_MOST_MISSED + 1):
            slot_s = await self._slot(units, latest_s)
            if slot_s is None:
                return False
            await asyncio.sleep(slot_s - time.monotonic())
            if missed == _MOST_MISSED or not is_missed(slot_s, time.monotonic()):
                break
        return True

    async def _slot(self, units: int, latest_s: float) -> float | None:
        self._wanted += units
        try:
            async with self._asking:
                now_s = time.monotonic()
                if self._slots.lacking(units, now_s):
                    # For all that ask just now, in one statement.
                    await self.reserve(self._slots.lacking(self._wanted, now_s))
                slot_s = self._slots.first_s
                if slot_s > latest_s:
                    return None
                self._slots.take(units)
                return slot_s
        finally:
            self._wanted -= units

    async def slow(self, pause_s: float) -> float | None:
        """Have all senders call at half the pace, which climbs after that pause; the share of the rate, None where it
        was just halved, or where there is no rate."""
        if self._per_s is None:
            return None
        slowed_to = await when_ledger_answers(lambda: self._gates.slow(self._provider, pause_s))
        self.pace = slowed_to or self.pace
        return slowed_to

    async def hold(self, pause_s: float, answer: CallResult, cause: Cause | None = None) -> None:
        """Tell all senders that this answer asks for a pause."""
        await when_ledger_answers(lambda: self._gates.hold(self._provider, pause_s, answer, cause))

    async def shorten(self) -> None:
        """Let no pause last longer than what is kept."""
        await when_ledger_answers(lambda: self._gates.shorten(self._provider, self._longest_pause_s))

    async def avoid(self, pause_s: float, reason: str | None) -> None:
        """Tell the dispatchers that this sender cannot reach the provider."""
        await when_ledger_answers(lambda: self._gates.avoid(self._provider, pause_s, reason))

    async def reached(self) -> None:
        """Tell the dispatchers that the provider works."""
        await when_ledger_answers(lambda: self._gates.reached(self._provider))

    async def end_refusal(self) -> None:
        """End the pause because of our account, if there is one: somebody may have mended it."""
        standing = await self.standing()
        if standing is not None and standing.held is not None and standing.held.cause is Cause.ACCOUNT:
            await when_ledger_answers(lambda: self._gates.shorten(self._provider, 0))
            await self.reached()

    async def standing(self) -> Standing | None:
        """What any sender was told of the provider; None where nothing is known against it. The pace is that which
        all senders keep."""
        standing = (await when_ledger_answers(self._gates.standings)).get(self._provider)
        self.pace = standing.pace if standing else 1.0
        return standing
