"""Which numbers share a call, and what becomes of each, with a provider that is played."""

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sender.calling import Calling
from services.sender.provider import Provider
from services.sender.providers.gateway import TextMessage
from services.sender.rate_limiter import RateLimiter
from services.sender.stages import Claimed, Done, Ended, Rules, Turn, in_parts
from shared.amqp.messages import Delivery
from shared.clock import now_ms
from shared.domain.message import MessageRow
from shared.domain.outcome import CallResult, Outcome, RetryPolicy, Verdict
from shared.domain.routing import Route, Routing
from shared.domain.segments import count_segments
from shared.domain.states import BatchState, State
from shared.ledger.provider_gates import Cause, Slot
from shared.messages import OutboundMessage, outbound_body
from shared.providers import Unit
from shared.running_tasks import RunningTasks
from shared.topology import Lane

BATCH_ID = "0198c0de-0000-8000-8000-00000000abcd"
ACCEPTED = CallResult(Verdict.ACCEPTED, status=200, provider_message_id="p")
BAD_REQUEST = CallResult(Verdict.REFUSED, "bad_request", "One of them is impossible", 400)
THROTTLED = CallResult(Verdict.NOT_SENT, "throttled", "Later", 429, retry_after_s=7)
TOO_FAST = CallResult(Verdict.NOT_SENT, "throttled", "Later", 429, too_fast=True)
TIMEOUT = CallResult(Verdict.UNCLEAR, "timeout", "No answer")
RULES = Rules(
    RetryPolicy(4, (5, 30)), lease_ms=28_000, call_within_ms=14_000, provider_deduplicates=False, longest_hold_s=450
)

Answer = CallResult | Sequence[CallResult]


class PlayedGateway:
    """Answers as it is told, and remembers who was called together."""

    name = "played"

    def __init__(self, answer: Callable[[Sequence[TextMessage]], Answer], max_recipients: int) -> None:
        self._answer, self.max_recipients = answer, max_recipients
        self.calls: list[list[str]] = []
        self.attempts: list[int] = []

    async def open(self) -> None:
        """Nothing to do."""

    async def send(self, messages: Sequence[TextMessage]) -> Answer:
        self.calls.append([message.to for message in messages])
        self.attempts += [message.attempt for message in messages]
        await asyncio.sleep(0)
        return self._answer(messages)

    may_need_a_call_each = False

    def share_key(self, message: TextMessage) -> str:
        return message.text

    def unsendable(self, _messages: Sequence[TextMessage]) -> None:
        """All can be sent."""

    def may_be_of_one(self, whole: CallResult) -> bool:
        return whole.verdict is Verdict.REFUSED and whole.status != 404

    async def close(self) -> None:
        """Nothing to do."""


class PlayedGates:
    """Gives slots one after the other, and remembers what was asked for."""

    def __init__(self) -> None:
        self.reserved: list[int] = []
        self.held_s = 0.0
        self.slowed, self.interval_s, self.next_s = 0, 0.0, 0.0
        self.waits_s: list[float] = []

    async def reserve(self, _provider: str, calls: int, interval_s: float, _soonest_s: float) -> Slot:
        self.reserved.append(calls)
        self.interval_s = interval_s
        await asyncio.sleep(0)
        now_s = time.monotonic()
        first_s = now_s + self.waits_s.pop(0) if self.waits_s else max(now_s, self.next_s)
        self.next_s = first_s + calls * interval_s
        return Slot(round(first_s * 1_000_000), round(now_s * 1_000_000))

    async def slow(self, _provider: str, _pause_s: float) -> float:
        self.slowed += 1
        return 0.5

    async def hold(self, _provider: str, pause_s: float, _answer: CallResult, _cause: Cause | None = None) -> None:
        self.held_s = pause_s

    async def avoid(self, *_: object) -> None:
        """Nobody chooses among providers here."""

    reached = avoid


@dataclasses.dataclass
class Stage:
    """The sending stage, with what plays around it."""

    gateway: PlayedGateway
    gates: PlayedGates
    provider: Provider
    under_way: RunningTasks
    outcomes: dict[int, Outcome] = dataclasses.field(default_factory=dict)

    @property
    def states(self) -> Counter[State]:
        return Counter(outcome.state for outcome in self.outcomes.values())


def row(number: int, **fields: Any) -> MessageRow:
    return MessageRow(
        **{
            "batch_id": BATCH_ID,
            "row": number,
            "state": State.SENDING,
            "attempt": 1,
            "recipient": f"+86138{number:08d}",
            "text": "hello",
            "claimed_at_ms": now_ms(),
            "claimed_by": "sender#1",
            "first_at_ms": now_ms(),
            "retry_at_ms": None,
            "error_code": None,
            "error_reason": None,
            "provider_status": None,
            "was_unclear": False,
            "batch_state": BatchState.RUNNING,
            "provider": "played",
            "pin": "default",
            "may_resend": False,
            "expires_at_ms": None,
            **fields,
        }
    )


def claimed(row: MessageRow) -> Claimed:
    fields = {"batch_id": BATCH_ID, "row": row.row, "attempt": row.attempt - 1, "recipient": "", "lane": Lane.BULK}
    segments = count_segments(row.text).segments
    message = OutboundMessage.model_validate({**fields, "segments": segments})
    body = outbound_body(BATCH_ID, row.row, row.attempt - 1, "", "bulk", None, segments)
    return Claimed(Turn(Delivery(body, None, None, "q", ack=lambda: None), message), row)


async def sent(
    rows: Sequence[MessageRow],
    answer: Callable[[Sequence[TextMessage]], Answer],
    most: int = 100,
    per_s: float | None = None,
    unit: Unit = "calls",
    routing: Routing | None = None,
    waits_s: Sequence[float] = (),
) -> Stage:
    """Send the rows to the end, each recorded once."""
    under_way, ended = RunningTasks(), asyncio.Queue[Ended]()
    gateway, gates = PlayedGateway(answer, most), PlayedGates()
    gates.waits_s.extend(waits_s)
    provider = Provider(gateway, RateLimiter(gates, "played", per_s, 300, unit), under_way)  # type: ignore[arg-type]
    stage = Stage(gateway, gates, provider, under_way)
    recording = asyncio.create_task(record(ended, stage))
    calling = Calling(provider, RULES, under_way, ended)
    calling.routing = routing
    calls = calling.begin([claimed(row) for row in rows])
    await asyncio.gather(*calls)
    await under_way.ended()
    recording.cancel()
    return stage


async def record(ended: asyncio.Queue[Ended], stage: Stage) -> None:
    while True:
        call = await ended.get()
        for done in call.done:
            number = done.claimed.row.row
            assert number not in stage.outcomes
            stage.outcomes[number] = done.outcome
        call.settled.set_result(None)


def accepting(messages: Sequence[TextMessage]) -> Answer:
    return [ACCEPTED] * len(messages)


def refusing_calls_with(*bad: int, refusal: CallResult = BAD_REQUEST) -> Callable[[Sequence[TextMessage]], Answer]:
    """A provider that checks all numbers of a call before it takes any."""
    numbers = {row(number).recipient for number in bad}
    return lambda messages: refusal if any(message.to in numbers for message in messages) else accepting(messages)


@pytest.mark.parametrize(("most", "sizes"), [(100, [100, 100, 50]), (60, [60, 60, 60, 60, 10]), (1, [1] * 250)])
async def test_as_many_numbers_travel_together_as_a_call_takes(most: int, sizes: list[int]) -> None:
    stage = await sent([row(number) for number in range(250)], accepting, most)
    assert [len(call) for call in stage.gateway.calls] == sizes
    assert stage.states == {State.SENT: 250}


async def test_each_number_has_the_outcome_of_its_own_result() -> None:
    refused = CallResult(Verdict.REFUSED, "number_unreachable", "It rings nowhere", 200)
    stage = await sent([row(number) for number in range(4)], lambda _: [ACCEPTED, refused, THROTTLED, TIMEOUT])
    states = [stage.outcomes[number].state for number in range(4)]
    assert states == [State.SENT, State.FAILED, State.RETRYING, State.UNKNOWN]
    assert stage.outcomes[1].code == "number_unreachable"


@pytest.mark.parametrize(("result", "state"), [(THROTTLED, State.RETRYING), (TIMEOUT, State.UNKNOWN)])
async def test_what_became_of_the_call_became_of_every_number_in_it(result: CallResult, state: State) -> None:
    stage = await sent([row(number) for number in range(100)], lambda _: result)
    assert stage.states == {state: 100}
    assert len(stage.gateway.calls) == 1


async def test_what_a_batch_and_an_earlier_attempt_say_counts_for_each_number_of_a_call() -> None:
    rows = [row(0, may_resend=True), row(1, was_unclear=True, attempt=4), row(2, attempt=4), row(3)]
    stage = await sent(rows, lambda messages: THROTTLED)
    states = [stage.outcomes[number].state for number in range(4)]
    assert states == [State.RETRYING, State.UNKNOWN, State.FAILED, State.RETRYING]


@pytest.mark.parametrize(
    ("attempt", "uncounted", "state"), [(4, 0, State.FAILED), (6, 3, State.RETRYING), (7, 3, State.FAILED)]
)
async def test_refusals_of_our_account_take_no_attempt_from_a_number(
    attempt: int, uncounted: int, state: State
) -> None:
    stage = await sent([row(0, attempt=attempt, uncounted=uncounted)], lambda _: THROTTLED)
    assert stage.gateway.attempts == [attempt]
    assert stage.outcomes[0].state is state
    assert not stage.outcomes[0].uncounted


async def test_an_expired_number_is_left_out_of_the_call() -> None:
    rows = [row(0), row(1, expires_at_ms=now_ms() - 1), row(2)]
    stage = await sent(rows, accepting)
    assert stage.gateway.calls == [[rows[0].recipient, rows[2].recipient]]
    assert stage.states == {State.SENT: 2, State.EXPIRED: 1}


async def test_nobody_is_called_where_all_have_expired() -> None:
    stage = await sent([row(number, expires_at_ms=1) for number in range(3)], accepting)
    assert (stage.gateway.calls, stage.states) == ([], {State.EXPIRED: 3})


@pytest.mark.parametrize("bad", [0, 50, 99])
async def test_one_bad_number_that_a_call_is_refused_for_spoils_no_other(bad: int) -> None:
    stage = await sent([row(number) for number in range(100)], refusing_calls_with(bad))
    assert stage.states == {State.SENT: 99, State.FAILED: 1}
    assert (stage.outcomes[bad].code, stage.outcomes[bad].provider_status) == ("bad_request", 400)
    assert len(stage.gateway.calls) <= 15


async def test_refused_credentials_fail_nobody_and_are_not_asked_about_again_for_each_half() -> None:
    unauthorized = CallResult(Verdict.ACCOUNT, "http_401", "Who are you?", 401)
    stage = await sent([row(number) for number in range(100)], lambda _: unauthorized)
    assert stage.states == {State.RETRYING: 100}
    assert len(stage.gateway.calls) == 1


async def test_what_is_left_of_a_refused_call_when_a_number_expires_is_final() -> None:
    rows = [row(0), row(1, expires_at_ms=now_ms() - 1)]
    stage = await sent(rows, lambda _: BAD_REQUEST)
    assert stage.states == {State.FAILED: 1, State.EXPIRED: 1}
    assert len(stage.gateway.calls) == 1


async def test_no_call_is_made_for_a_claim_that_may_have_ended_when_it_does() -> None:
    stage = await sent([row(number, claimed_at_ms=now_ms() - 14_100) for number in range(3)], accepting)
    assert stage.gateway.calls == []
    assert stage.states == {State.RETRYING: 3}
    assert {outcome.code for outcome in stage.outcomes.values()} == {"sender_stalled"}


async def test_the_parts_of_a_refused_call_are_tried_again_where_the_claim_leaves_no_time_for_them() -> None:
    claimed_at_ms = now_ms() - 13_900

    def slow(messages: Sequence[TextMessage]) -> Answer:
        while now_ms() - claimed_at_ms <= 14_000:
            pass
        return BAD_REQUEST

    stage = await sent([row(number, claimed_at_ms=claimed_at_ms) for number in range(4)], slow)
    assert len(stage.gateway.calls) == 1
    assert stage.states == {State.RETRYING: 4}


async def test_every_part_of_a_refused_call_has_its_slot_in_the_rate() -> None:
    stage = await sent([row(number) for number in range(8)], refusing_calls_with(3), per_s=1000)
    assert len(stage.gateway.calls) == 7
    assert sum(stage.gates.reserved) >= 7


async def test_a_call_that_misses_its_slot_gets_another_but_is_made_in_the_end() -> None:
    stage = await sent([], accepting, per_s=100, waits_s=[-0.3, -0.3, -0.3])
    assert await stage.provider.turn(2, 60)
    assert stage.gates.reserved == [2, 2, 2]


async def test_who_asks_together_is_reserved_for_together() -> None:
    stage = await sent([row(number) for number in range(40)], accepting, most=1, per_s=5000)
    assert stage.states == {State.SENT: 40}
    assert stage.gates.reserved[:2] == [1, 39]


async def test_a_turn_that_comes_too_late_is_not_waited_for_and_takes_no_attempt() -> None:
    stage = await sent([row(0), row(1)], accepting, per_s=100, waits_s=[100])
    assert stage.states == {State.RETRYING: 2}
    assert all(outcome.uncounted for outcome in stage.outcomes.values())
    assert stage.gateway.calls == []


async def test_a_provider_that_is_called_too_fast_is_called_more_slowly_whatever_else_it_took() -> None:
    stage = await sent([row(number) for number in range(6)], lambda _: [ACCEPTED, TOO_FAST, ACCEPTED], 3, per_s=100)
    assert stage.gates.slowed == 1
    await stage.provider.reserve([claimed(row(7)).turn.delivery])
    assert stage.gates.interval_s == pytest.approx(1 / 48)


async def test_where_there_is_no_rate_nothing_is_slowed_and_nothing_reserved() -> None:
    stage = await sent([row(0)], lambda _: TOO_FAST)
    assert (stage.gates.slowed, stage.gates.reserved) == (0, [])


@pytest.mark.parametrize(("numbers", "calls"), [(1, 1), (30, 1), (31, 2), (100, 4)])
async def test_a_call_takes_one_slot_of_the_rate_whatever_it_has_in_it(numbers: int, calls: int) -> None:
    stage = await sent([], accepting, most=30, per_s=8)
    await stage.provider.reserve([claimed(row(number)).turn.delivery for number in range(numbers)])
    assert stage.provider.most_numbers(100) == 20  # until one shows that the provider works
    stage.provider.circuit.has_answered = True
    assert stage.gates.reserved == [calls]
    assert stage.provider.most_numbers(100) == 60


async def test_the_circuit_counts_calls_and_not_their_numbers() -> None:
    stage = await sent([row(number) for number in range(100)], lambda _: THROTTLED)
    assert (stage.provider.circuit.failures, stage.provider.circuit.is_open) == (1, False)


@pytest.mark.parametrize(
    ("results", "failures"), [([THROTTLED, THROTTLED], 1), ([THROTTLED, ACCEPTED], 0), ([BAD_REQUEST, THROTTLED], 0)]
)
async def test_a_call_fails_for_the_circuit_when_the_provider_took_none_of_it_for_now(
    results: list[CallResult], failures: int
) -> None:
    stage = await sent([row(0), row(1)], lambda _: results)
    assert stage.provider.circuit.failures == failures


async def test_a_pause_asked_for_by_the_call_that_opens_the_circuit_holds_all_senders() -> None:
    stage = await sent([row(number) for number in range(40)], lambda _: THROTTLED, most=2)
    assert stage.provider.circuit.is_open
    assert stage.gates.held_s == 7


@settings(deadline=None, max_examples=100)
@given(bad=st.sets(st.integers(0, 39)), most=st.integers(1, 40))
def test_whatever_numbers_a_provider_refuses_calls_for_only_they_fail_and_the_others_are_taken_once(
    bad: set[int], most: int
) -> None:
    taken: Counter[str] = Counter()
    refuse = refusing_calls_with(*bad)

    def answer(messages: Sequence[TextMessage]) -> Answer:
        found = refuse(messages)
        taken.update([] if isinstance(found, CallResult) else [message.to for message in messages])
        return found

    stage = asyncio.run(sent([row(number) for number in range(40)], answer, most))
    assert {number for number, outcome in stage.outcomes.items() if outcome.state is State.FAILED} == bad
    assert taken == {row(number).recipient: 1 for number in range(40) if number not in bad}


async def test_a_defect_in_a_part_of_a_call_ends_the_sender() -> None:
    async def defect() -> None:
        raise RuntimeError("defect")

    under_way = RunningTasks()

    async def parent() -> None:
        await under_way.begin(defect())

    under_way.begin(parent())
    await under_way.ended()
    with pytest.raises(RuntimeError, match="defect"):
        await under_way.failure


async def test_what_is_begun_while_it_ends_is_waited_for_too() -> None:
    under_way, order = RunningTasks(), []

    async def work(name: str, then: Callable[[], Awaitable[None]] | None = None) -> None:
        await asyncio.sleep(0)
        order.append(name)
        if then is not None:
            under_way.begin(then())  # type: ignore[arg-type]

    under_way.begin(work("first", lambda: work("second")))
    await under_way.ended()
    assert order == ["first", "second"]


async def test_outcomes_are_recorded_together_by_whole_calls() -> None:
    loop = asyncio.get_running_loop()
    calls = [
        Ended([Done(claimed(row(0)), Outcome(State.SENT))] * size, loop.create_future())
        for size in (40, 60, 1, 100, 3, 4)
    ]
    assert [[len(call.done) for call in part] for part in in_parts(calls, 100)] == [[40, 60], [1], [100], [3, 4]]
    assert list(in_parts([], 100)) == []


async def test_only_what_may_share_a_call_does_and_every_call_is_reserved() -> None:
    rows = [row(number, text="same" if number % 2 else f"own {number}") for number in range(6)]
    stage = await sent(rows, accepting, per_s=1000)
    assert sorted(len(call) for call in stage.gateway.calls) == [1, 1, 1, 3]
    assert stage.states == {State.SENT: 6}
    assert sum(stage.gates.reserved) >= 4


async def test_a_template_and_its_values_go_to_the_gateway() -> None:
    seen: list[TextMessage] = []

    def look(messages: Sequence[TextMessage]) -> Answer:
        seen.extend(messages)
        return accepting(messages)

    await sent([row(0, template_id=7, variables='{"name":"Li"}'), row(1, template_id=7), row(2)], look, most=1)
    assert [(message.template_id, dict(message.variables)) for message in sorted(seen)] == [
        (7, {"name": "Li"}), (7, {}), (None, {}),
    ]  # fmt: skip


LONG = "x" * 400
"""Three segments."""


@pytest.mark.parametrize(("unit", "units"), [("calls", 1), ("messages", 5), ("segments", 7)])
async def test_what_a_rate_counts_is_what_its_provider_counts(unit: Unit, units: int) -> None:
    rows = [row(number, text=LONG if number == 0 else "x") for number in range(5)]
    stage = await sent([], accepting, most=100, per_s=100, unit=unit)
    await stage.provider.reserve([claimed(each).turn.delivery for each in rows])
    assert stage.gates.reserved == [units]
    stage.provider.circuit.has_answered = True
    assert stage.provider.most_numbers(100) == (100 if unit == "calls" else 25)


async def test_every_call_reserves_as_much_as_is_in_it() -> None:
    rows = [row(0, text=LONG), row(1), row(2)]
    stage = await sent(rows, accepting, most=1, per_s=1000, unit="segments")
    assert stage.states == {State.SENT: 3}
    # More, where a machine that is busy lets a slot go by.
    assert sum(stage.gates.reserved) >= 3 + 1 + 1


async def test_what_came_to_the_wrong_queue_goes_back_and_is_not_sent() -> None:
    routing = Routing([Route("played", prefixes=frozenset({"+86"})), Route("other", templates=frozenset({7}))])
    rows = [row(0), row(1, recipient="+4915112345678"), row(2, template_id=7), row(3, recipient="+491", is_tied=True)]
    stage = await sent(rows, accepting, routing=routing)
    # The third: its template may go elsewhere, but its number has a longer prefix here.
    assert {number: outcome.state for number, outcome in stage.outcomes.items()} == {
        0: State.SENT, 1: State.PENDING, 2: State.SENT, 3: State.SENT,
    }  # fmt: skip
    assert stage.outcomes[1].uncounted
    assert "+4915112345678" not in {number for call in stage.gateway.calls for number in call}


async def test_no_more_calls_are_under_way_than_the_provider_takes_of_one_sender() -> None:
    under_way = most = 0

    class Counting(PlayedGateway):
        async def send(self, messages: Sequence[TextMessage]) -> Answer:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1
            return accepting(messages)

    gates, tasks, ended = PlayedGates(), RunningTasks(), asyncio.Queue[Ended]()
    gateway = Counting(accepting, 1)
    provider = Provider(gateway, RateLimiter(gates, "played", None, 300), tasks, concurrency=3)  # type: ignore[arg-type]
    recording = asyncio.create_task(record(ended, Stage(gateway, gates, provider, tasks)))
    calling = Calling(provider, RULES, tasks, ended)
    await asyncio.gather(*calling.begin([claimed(row(number)) for number in range(20)]))
    recording.cancel()
    assert most == 3
