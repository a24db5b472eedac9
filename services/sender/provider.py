"""The provider as a sender deals with it: its gateway, the pace that all senders keep, and the circuit."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from math import ceil

import structlog

from services.sender import metrics
from services.sender.circuit import Circuit
from services.sender.providers.gateway import Gateway, Results, TextMessage
from services.sender.rate_limiter import RateLimiter
from shared.amqp.messages import Delivery
from shared.domain.outcome import CallResult, Verdict
from shared.ledger.provider_gates import Cause
from shared.messages import segments_in
from shared.running_tasks import RunningTasks

_LOOK_AT_GATE_EVERY_S = 0.5
_UNDERSTOOD = frozenset({Verdict.ACCEPTED, Verdict.REFUSED, Verdict.PUT_OFF})
_MOST_IN_DOUBT = 20
_CLAIM_AHEAD_S = 0.05
_MOST_TELLING_FIRST = (
    Verdict.ACCEPTED,
    Verdict.ACCOUNT,
    Verdict.REFUSED,
    Verdict.PUT_OFF,
    Verdict.NOT_SENT,
    Verdict.UNCLEAR,
)

log = structlog.get_logger()


class Provider:
    """Makes calls, and takes from each what it says of the provider as a whole."""

    def __init__(
        self, gateway: Gateway, limiter: RateLimiter, under_way: RunningTasks, concurrency: int | None = None
    ) -> None:
        self._gateway, self._limiter, self._under_way = gateway, limiter, under_way
        self.circuit = Circuit()
        self._in_flight = 0
        self._understood_at_s = -math.inf
        self._told_to_avoid, self._heard_otherwise = False, 0
        self._slowed_at_s = -math.inf
        self._gate_until_s: float | None = None
        """The latest moment until which the gate held this sender; None while it is lifted."""
        # Looked up when somebody asks, which costs a call less than moving the gauge twice.
        metrics.CALLS_IN_FLIGHT.labels(gateway.name).set_function(lambda: self._in_flight)
        metrics.CIRCUIT_OPEN.labels(gateway.name).set(0)
        self._seconds = {verdict: metrics.PROVIDER_SECONDS.labels(gateway.name, verdict) for verdict in Verdict}
        self.name = gateway.name
        self.max_recipients = gateway.max_recipients
        self.room = asyncio.Semaphore(concurrency) if concurrency else nullcontext()
        """For calls, of those that one sender may have under way."""

    def use(self, gateway: Gateway, limiter: RateLimiter) -> None:
        """Make calls by these from now on; those under way end as they began."""
        self._gateway, self._limiter = gateway, limiter
        self.max_recipients = gateway.max_recipients

    @property
    def calls_under_way(self) -> int:
        """Calls that have no answer yet."""
        return self._in_flight

    def most_numbers(self, most: int) -> int:
        """How many numbers to reserve calls for at a time, `most` at the most."""
        if self.circuit.is_doubtful:
            most = min(most, _MOST_IN_DOUBT)
        # Where each may need a call of its own, the last one is to be made before its claim has run out.
        shares = self._limiter.unit == "calls" and not self._gateway.may_need_a_call_each
        return min(most, (self._limiter.most_at_once or most) * (self.max_recipients if shares else 1))

    def calls_for(self, numbers: int) -> int:
        """How many calls so many numbers take, if all of them can share calls."""
        return ceil(numbers / self.max_recipients)

    def units(self, numbers: int, segments: Callable[[], int]) -> int:
        """What the rate counts of a call with so many numbers."""
        match self._limiter.unit:
            case "calls":
                return 1
            case "messages":
                return numbers
            case "segments":
                return segments()

    async def reserve(self, deliveries: Sequence[Delivery]) -> float | None:
        """Reserve what it takes to send them; the first call's slot, None for at once.

        Where the day's limit has too little left for all, the circuit opens: they are tried one by one, and where it
        has nothing left, all senders pause until the next day.
        """
        if not self._limiter.is_needed:
            return None
        numbers, by_segment = len(deliveries), self._limiter.unit == "segments"
        messages = sum(segments_in(delivery.body) for delivery in deliveries) if by_segment else numbers
        day_left_s = await self._limiter.take_of_day(messages)
        if day_left_s is not None:
            await self._end_of_day(day_left_s if numbers == 1 else 0.0)
            return None
        return await self._limiter.reserve(self.calls_for(numbers) if self._limiter.unit == "calls" else messages)

    @property
    def is_paced(self) -> bool:
        """Whether calls have to wait for their turn."""
        return self._limiter.is_paced

    async def wait_to_claim(self, slot_s: float | None) -> None:
        """Wait until shortly before the slot of the first call, so that it is claimed by then."""
        if slot_s is not None:
            await asyncio.sleep(slot_s - _CLAIM_AHEAD_S - time.monotonic())

    async def turn(self, units: int, within_s: float) -> bool:
        """Wait until a call with so many units may be made; False where that is not within so much time."""
        return await self._limiter.turn(units, time.monotonic() + within_s)

    async def _end_of_day(self, left_s: float) -> None:
        until_s = time.monotonic() + left_s
        self.circuit.hold(until_s)
        if left_s:
            log.warning("provider_held", provider=self.name, cause=Cause.DAILY.value, pause_s=round(left_s))
            await self._limiter.hold(left_s, _DAY_IS_OVER, Cause.DAILY)
            self._held_by_gate(until_s)

    def share_key(self, message: TextMessage) -> Hashable:
        """As `Gateway.share_key`."""
        return self._gateway.share_key(message)

    async def call(self, messages: Sequence[TextMessage]) -> Results:
        """Call once, for at most `max_recipients` messages: what `Gateway.send` returns."""
        if (refusal := self._gateway.unsendable(messages)) is not None:
            return refusal
        started_at_s, begun_s = time.perf_counter(), time.monotonic()
        self._in_flight += 1
        try:
            answer = await self._gateway.send(messages)
        finally:
            self._in_flight -= 1
        whole = answer if isinstance(answer, CallResult) else most_telling(answer)
        held_until_s = self.circuit.held_until_s
        now_s = time.monotonic()
        changed = self.circuit.record(whole, now_s, len(messages), begun_s)
        self._note(changed=changed, reason=whole.reason)
        if self.circuit.is_open and self.circuit.held_until_s > max(held_until_s, now_s):
            self._under_way.begin(self._avoid(self.circuit.held_until_s - now_s, whole.reason))
        if whole.verdict in _UNDERSTOOD:
            self._understood_at_s = now_s
        pause_s = self.circuit.pause_s if whole.verdict is Verdict.ACCOUNT else whole.retry_after_s
        if pause_s and self.circuit.held_until_s > held_until_s:
            self._under_way.begin(self._hold_all(now_s, pause_s, whole))
        if (refusal := too_fast_in(answer)) is not None:
            self._slow_down(begun_s, refusal)
        self._seconds[whole.verdict].observe(time.perf_counter() - started_at_s)
        return answer

    def may_be_of_one(self, whole: CallResult) -> bool:
        """As `Gateway.may_be_of_one`."""
        return self._gateway.may_be_of_one(whole)

    async def shorten_pause(self) -> None:
        """Let no pause last longer than what is kept: one may be left of a version, or of settings, that kept more."""
        await self._limiter.shorten()

    async def watch_gate(self, look_every_s: float = _LOOK_AT_GATE_EVERY_S) -> None:
        """Pause when any sender was told to, and go on when the pause is over or was lifted; until cancelled."""
        while True:
            await asyncio.sleep(look_every_s)
            await self.look_at_gate()

    async def look_at_gate(self) -> None:
        """Pause if any sender was told to, before the first call too; go on if the pause is over or was lifted."""
        pace_before = self._limiter.pace
        standing = await self._limiter.standing()
        if self._limiter.pace < pace_before:
            self._slowed_at_s = time.monotonic()
        held = standing and standing.held
        for cause in Cause:
            metrics.PROVIDER_HELD.labels(self.name, cause).set(held is not None and held.cause is cause)
        is_avoided = standing is not None and standing.avoided_s is not None
        if is_avoided and self._works:
            await self._limiter.reached()
        elif self._told_to_avoid and not is_avoided:
            self._heard_otherwise += 1
            # An operator has resumed it, or another sender has reached it. Once might be a look of before it was told.
            if self._heard_otherwise > 1:
                self._told_to_avoid = False
                self.circuit.release(time.monotonic())
        if held is not None:
            until_s = time.monotonic() + held.left_s
            self._note(changed=self.circuit.hold(until_s), reason=held.reason or _ANOTHER)
            self._held_by_gate(until_s)
        elif self._gate_until_s is not None:
            # What lasts longer began by calls of our own that failed, perhaps just now.
            if self.circuit.held_until_s <= self._gate_until_s:
                self.circuit.release(time.monotonic())
            self._gate_until_s = None

    def _slow_down(self, begun_s: float, refusal: CallResult) -> None:
        # Calls that were begun before all senders knew of the last one say nothing new.
        if begun_s > self._slowed_at_s + _LOOK_AT_GATE_EVERY_S:
            self._slowed_at_s = time.monotonic()
            self._under_way.begin(self._slow_all(refusal))

    async def _slow_all(self, refusal: CallResult) -> None:
        """Have all senders call more slowly; while they pause, the pace does not climb."""
        pause_s = self.circuit.wait_s(time.monotonic())
        pace = await self._limiter.slow(pause_s)
        if pace is not None:
            log.warning("provider_slowed", provider=self.name, pace=pace, code=refusal.code, reason=refusal.reason)

    async def _avoid(self, pause_s: float, reason: str | None) -> None:
        await self._limiter.avoid(pause_s, reason)
        self._told_to_avoid, self._heard_otherwise = self.circuit.is_open, 0

    async def _hold_all(self, now_s: float, pause_s: float, answer: CallResult) -> None:
        """Have all senders pause; this one too looks from then on whether the pause was lifted."""
        cause = Cause.of(answer)
        tell = log.error if cause is Cause.ACCOUNT else log.warning
        tell(
            "provider_held",
            provider=self.name,
            cause=cause.value,
            pause_s=pause_s,
            code=answer.code,
            reason=answer.reason,
        )
        await self._limiter.hold(pause_s, answer)
        self._held_by_gate(now_s + pause_s)

    @property
    def _works(self) -> bool:
        """Whether this sender has just seen that it can be called."""
        is_fresh = time.monotonic() - self._understood_at_s < 2 * _LOOK_AT_GATE_EVERY_S
        return is_fresh and not self.circuit.is_open

    def _held_by_gate(self, until_s: float) -> None:
        self._gate_until_s = max(self._gate_until_s or 0.0, until_s)

    def _note(self, *, changed: bool, reason: str | None) -> None:
        if changed:
            metrics.CIRCUIT_OPEN.labels(self.name).set(self.circuit.is_open)
            event = "circuit_opened" if self.circuit.is_open else "circuit_closed"
            log.warning(event, provider=self.name, reason=reason)
            if not self.circuit.is_open:
                self._told_to_avoid = False
                self._under_way.begin(self._limiter.reached())


def too_fast_in(answer: Results) -> CallResult | None:
    """The first of a call's results that says it came too soon, if one does."""
    if isinstance(answer, CallResult):
        return answer if answer.too_fast else None
    return next((result for result in answer if result.too_fast), None)


def most_telling(results: Sequence[CallResult]) -> CallResult:
    """Of the results of one call, the one that says most of the provider as a whole: that it takes texts, that it is
    there, that it takes none for now."""
    return min(results, key=lambda result: _MOST_TELLING_FIRST.index(result.verdict))


_DAY_IS_OVER = CallResult(Verdict.NOT_SENT, "daily_limit", "As much as its daily limit allows was sent today")
_ANOTHER = "the provider asked another sender for a pause"
