"""The pauses of a sender: the gate's, which all senders keep, and those of its own circuit."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from prometheus_client import REGISTRY

from services.sender.provider import Provider, most_telling
from services.sender.providers.gateway import TextMessage
from services.sender.rate_limiter import RateLimiter
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
        self.avoided: list[tuple[float, str | None] | None] = []

    async def shorten(self, _provider: str, _longest_s: float) -> None:
        """Nothing to do."""

    async def hold(self, _provider: str, _pause_s: float, _answer: CallResult) -> None:
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
        self._answers.put_nowait({name: Standing(held, None, None)} if held_s else {})
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
