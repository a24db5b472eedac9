"""The pauses of a sender: the gate's, which all senders keep, and those of its own circuit."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import REGISTRY

from services.sender.provider import Provider, most_telling
from services.sender.providers.gateway import TextMessage
from services.sender.rate_limiter import DailyLimit, RateLimiter
from shared.amqp.messages import Delivery
from shared.domain.outcome import CallResult, Verdict
from shared.ledger.provider_gates import Cause, Held, Standing
from shared.running_tasks import RunningTasks

DOWN = CallResult(Verdict.NOT_SENT, "connect_failed")
THROTTLED = CallResult(Verdict.NOT_SENT, "throttled", "Later", 429, retry_after_s=300)
MESSAGES = [TextMessage(f"b:{row}", "+8613800138000", "hello") for row in range(500)]
"""One call with so many numbers opens the circuit."""


class PlayedGateway:
    """Answers all calls alike."""

    name, max_recipients = "played", len(MESSAGES)

    def __init__(self, answer: CallResult) -> None:
        self._answer = answer

    async def open(self) -> None:
        """Nothing to do."""

    async def send(self, _messages: Sequence[TextMessage]) -> CallResult:
        return self._answer

    may_need_a_call_each = False

    def share_key(self, _message: TextMessage) -> None:
        """Any share a call."""

    def unsendable(self, _messages: Sequence[TextMessage]) -> None:
        """All can be sent."""

    def may_be_of_one(self, _whole: CallResult) -> bool:
        return False

    async def close(self) -> None:
        """Nothing to do."""


class PlayedGates:
    """Tells whoever looks what the test puts in, a look at a time."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[Mapping[str, Standing]] = asyncio.Queue()
        self._is_looked_at = asyncio.Event()
        self.was_held = asyncio.Event()
        self.holds: list[tuple[float, Cause | None]] = []
        self.avoided: list[tuple[float, str | None] | None] = []

    async def shorten(self, _provider: str, _longest_s: float) -> None:
        """Nothing to do."""

    async def hold(self, _provider: str, pause_s: float, _answer: CallResult, cause: Cause | None = None) -> None:
        self.holds.append((pause_s, cause))
        self.was_held.set()

    async def avoid(self, _provider: str, pause_s: float, reason: str | None) -> None:
        self.avoided.append((pause_s, reason))

    async def reached(self, _provider: str) -> None:
        self.avoided.append(None)

    async def standings(self) -> Mapping[str, Standing]:
        self._is_looked_at.set()
        return await self._answers.get()

    async def show(self, held_s: float, cause: Cause = Cause.ASKED, name: str = "played") -> None:
        """Answer a look, 0 for no pause, and wait for the next one: by then the answer is acted upon."""
        await self._is_looked_at.wait()
        self._is_looked_at.clear()
        held = Held(name, held_s, 0, cause, None, None, None)
        avoided_s = 1.0 if self.avoided and self.avoided[-1] else None
        standing = Standing(held if held_s else None, avoided_s, None)
        self._answers.put_nowait({name: standing} if held_s or avoided_s else {})
        await self._is_looked_at.wait()


@asynccontextmanager
async def watching(answer: CallResult) -> AsyncIterator[tuple[Provider, PlayedGates]]:
    gates, under_way = PlayedGates(), RunningTasks()
    provider = Provider(PlayedGateway(answer), RateLimiter(gates, "played", None, 300), under_way)  # type: ignore[arg-type]
    watch = asyncio.create_task(provider.watch_gate(look_every_s=0))
    try:
        yield provider, gates
    finally:
        watch.cancel()
        await under_way.cancel()


async def test_a_gate_that_is_lifted_lets_a_probe_through_at_once() -> None:
    async with watching(DOWN) as (provider, gates):
        await gates.show(300)
        assert provider.circuit.wait_s(time.monotonic()) > 0
        await gates.show(0)
        assert (provider.circuit.is_open, provider.circuit.wait_s(time.monotonic())) == (True, 0)


async def test_a_gate_that_is_lifted_does_not_cut_a_pause_that_began_by_the_senders_own_failures() -> None:
    async with watching(DOWN) as (provider, gates):
        await gates.show(1e-9)
        await provider.call(MESSAGES)
        until_s = provider.circuit.held_until_s
        await gates.show(0)
        assert provider.circuit.held_until_s == until_s


async def test_a_pause_that_this_sender_was_asked_for_is_lifted_with_the_gate() -> None:
    async with watching(THROTTLED) as (provider, gates):
        await provider.call(MESSAGES)
        await gates.was_held.wait()
        await gates.show(299)
        await gates.show(0)
        assert (provider.circuit.is_open, provider.circuit.wait_s(time.monotonic())) == (True, 0)


async def test_why_all_senders_pause_is_shown_while_they_do() -> None:
    def shown() -> dict[str, float]:
        values = {
            cause: REGISTRY.get_sample_value("sms_sender_provider_held", {"provider": "played", "cause": cause})
            for cause in Cause
        }
        return {cause.value: value for cause, value in values.items() if value}

    async with watching(DOWN) as (provider, gates):
        await gates.show(300, Cause.ACCOUNT, name="another")
        assert (shown(), provider.circuit.is_open) == ({}, False)
        await gates.show(300, Cause.ACCOUNT)
        assert (shown(), provider.circuit.is_open) == ({"account": 1}, True)
        await gates.show(300, Cause.ASKED)
        assert shown() == {"asked": 1}
        await gates.show(0)
        assert shown() == {}


def test_of_a_calls_results_one_about_our_account_tells_more_than_a_refusal() -> None:
    refused, account = CallResult(Verdict.REFUSED), CallResult(Verdict.ACCOUNT)
    accepted, put_off = CallResult(Verdict.ACCEPTED), CallResult(Verdict.PUT_OFF)
    assert most_telling([refused, put_off, account]) is account
    assert most_telling([account, accepted]) is accepted


class PlayedDays:
    """A daily limit that the test sets."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.days: set[str] = set()

    async def take(self, _provider: str, day: str, units: int, _limit: int) -> bool:
        self.days.add(day)
        if units > self.left:
            return False
        self.left -= units
        return True


async def test_a_day_that_is_used_up_is_used_to_the_last_message_and_then_all_senders_pause_until_the_next() -> None:
    gates, under_way, days = PlayedGates(), RunningTasks(), PlayedDays(left=3)
    daily = DailyLimit(days, 10, ZoneInfo("Asia/Shanghai"))  # type: ignore[arg-type]
    limiter = RateLimiter(gates, "played", None, 300, "messages", daily)  # type: ignore[arg-type]
    provider = Provider(PlayedGateway(DOWN), limiter, under_way)
    deliveries = [Delivery(b"{}", None, None, "q", ack=lambda: None)] * 5
    await provider.reserve(deliveries)
    # Too few for all of them: one at a time, as far as it goes.
    assert (provider.circuit.is_open, provider.circuit.wait_s(time.monotonic()), gates.holds) == (True, 0, [])
    for _ in range(3):
        await provider.reserve(deliveries[:1])
        assert provider.circuit.wait_s(time.monotonic()) == 0
    await provider.reserve(deliveries[:1])
    ((pause_s, cause),) = gates.holds
    assert cause is Cause.DAILY
    assert 0 < pause_s <= 24 * 3600
    assert provider.circuit.wait_s(time.monotonic()) > pause_s - 60
    assert days.left == 0


@pytest.mark.parametrize(
    ("at", "zone", "day", "left_s"),
    [
        ("2026-11-28T15:59:00+00:00", "Asia/Shanghai", "2026-11-28", 60),
        ("2026-11-28T16:00:00+00:00", "Asia/Shanghai", "2026-11-29", 24 * 3600),
        ("2026-03-29T00:00:00+00:00", "Europe/Berlin", "2026-03-29", 22 * 3600),  # a day of 23 hours, one of them over
        ("2026-11-28T23:59:59+00:00", "UTC", "2026-11-28", 1),
    ],
)
def test_a_day_is_one_of_its_zone(at: str, zone: str, day: str, left_s: float) -> None:
    daily = DailyLimit(PlayedDays(0), 1, ZoneInfo(zone))  # type: ignore[arg-type]
    now = datetime.fromisoformat(at)
    assert (daily.day(now), daily.left_s(now)) == (day, left_s)


async def test_what_an_operator_resumes_is_probed_at_once_by_the_sender_that_could_not_reach_it() -> None:
    async with watching(DOWN) as (provider, gates):
        await gates.show(1e-9)
        await provider.call(MESSAGES)
        await gates.show(0)
        assert len(gates.avoided) == 1
        assert provider.circuit.wait_s(time.monotonic()) > 0
        gates.avoided.append(None)
        await gates.show(0)
        await gates.show(0)
        assert (provider.circuit.is_open, provider.circuit.wait_s(time.monotonic())) == (True, 0)
