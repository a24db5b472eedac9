"""The pace of provider calls, which all senders keep together."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.domain.outcome import CallResult
from shared.ledger.provider_days import ProviderDays
from shared.ledger.provider_gates import Cause, ProviderGates, Standing
from shared.ledger.waiting import when_ledger_answers
from shared.providers import Unit

_SPAN_S = 0.25
"""What is reserved at a time: a sender that stands still makes no more calls too late than these."""


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
        tomorrow = datetime.combine(here.date() + timedelta(days=1), time(), self.zone)
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
        self.unit, self._daily = unit, daily
        self.most_at_once = None if per_s is None else max(1, int(per_s * _SPAN_S))
        """How many units to reserve at a time; None for any number."""
        self.interval_s = 0.0 if per_s is None else 1 / per_s
        """From one unit to the next."""

    @property
    def is_needed(self) -> bool:
        """Whether anything is counted at all."""
        return bool(self.interval_s) or self._daily is not None

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

    async def reserve(self, units: int) -> float:
        """Reserve units; how long to wait for the first."""
        if not self.interval_s:
            return 0.0
        return await when_ledger_answers(lambda: self._gates.reserve(self._provider, units, self.interval_s))

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
        """What any sender was told of the provider; None where nothing is known against it."""
        return (await when_ledger_answers(self._gates.standings)).get(self._provider)
