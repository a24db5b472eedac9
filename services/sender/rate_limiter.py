"""The pace of provider calls, which all senders keep together."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from shared.domain.outcome import CallResult
from shared.ledger.provider_days import ProviderDays
from shared.ledger.provider_gates import Cause, ProviderGates, Standing
from shared.ledger.waiting import when_ledger_answers
from shared.providers import Unit

_SPAN_S = 0.25
"""What is reserved at a time: a sender that stands still makes no more calls too late than these."""
_USED, _LATEST_S = 0.96, 0.025
"""The share of the rate that is used, and how long after its slot a call may still be made. Together: as many calls as
have their slots in 1.025 s may fall into one second, and are fewer than the rate."""
_SOONEST_S = 0.02
"""How far ahead the first slot is, so that there is time to claim what is called in it."""


def is_missed(slot_s: float, now_s: float) -> bool:
    """Whether it is too late to make a call in this slot: beside those of the slots since, it might be one too many."""
    return now_s - slot_s > _LATEST_S


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
        self._pace = 1.0

    @property
    def most_at_once(self) -> int | None:
        """How many units to reserve at a time; None for any number."""
        return None if self._per_s is None else max(1, int(self._per_s * self._pace * _SPAN_S))

    @property
    def interval_s(self) -> float:
        """From one unit to the next; 0 where there is no rate."""
        return 0.0 if self._per_s is None else 1 / (self._per_s * self._pace * _USED)

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
        """Reserve units; the slot of the first, by the monotonic clock; None where there is no rate."""
        if self._per_s is None:
            return None
        wait_s = await when_ledger_answers(
            lambda: self._gates.reserve(self._provider, units, self.interval_s, _SOONEST_S)
        )
        return time.monotonic() + wait_s

    async def slow(self, pause_s: float) -> float | None:
        """Have all senders call at half the pace, after that pause; the share of the rate, None where it was just
        halved, or where there is no rate."""
        if self._per_s is None:
            return None
        slowed_to = await when_ledger_answers(lambda: self._gates.slow(self._provider, pause_s))
        self._pace = slowed_to or self._pace
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
        self._pace = standing.pace if standing else 1.0
        return standing
