"""The pace of provider calls, which all senders keep together."""

from shared.domain.outcome import CallResult
from shared.ledger.provider_gates import Cause, ProviderGates, Standing
from shared.ledger.waiting import when_ledger_answers

_SPAN_S = 0.25
"""What is reserved at a time: a sender that stands still makes no more calls too late than these."""


class RateLimiter:
    """Reserves calls at the provider's rate; where there is none, all may be made at once."""

    def __init__(self, gates: ProviderGates, provider: str, per_s: float | None, longest_pause_s: float) -> None:
        self._gates, self._provider, self._longest_pause_s = gates, provider, longest_pause_s
        self.most_at_once = None if per_s is None else max(1, int(per_s * _SPAN_S))
        """How many calls to reserve at a time; None for any number."""
        self.interval_s = 0.0 if per_s is None else 1 / per_s
        """From one call to the next."""

    async def reserve(self, calls: int) -> float:
        """Reserve calls; how long to wait for the first."""
        if not self.interval_s:
            return 0.0
        return await when_ledger_answers(lambda: self._gates.reserve(self._provider, calls, self.interval_s))

    async def hold(self, pause_s: float, answer: CallResult) -> None:
        """Tell all senders that this answer asks for a pause."""
        await when_ledger_answers(lambda: self._gates.hold(self._provider, pause_s, answer))

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
