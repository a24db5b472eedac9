"""A delivery's way through a sender: claim, send, record, settle; in micro-batches, each stage a function."""

import asyncio
import itertools
import random
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from services.sender import metrics
from services.sender.circuit import Circuit
from services.sender.disposing import Disposer
from services.sender.follow_ups import FollowUps
from services.sender.gateways import Gateway, TextMessage
from services.sender.jobs import Done, Job, Rules, first_of_each
from services.sender.pace import Pace
from services.sender.suspects import poisoned, told_apart
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.amqp.settle import Settlement, settle
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.errors import UnreadableMessage
from shared.ledger.sending import Recorded, Row, SendingLedger
from shared.ledger.waiting import when_ledger_answers
from shared.messages import message_id, read_outbound
from shared.micro_batch import next_batch
from shared.outcome import CallResult, Outcome, Verdict, decide, expired, mindful
from shared.states import State

_MOST, _LINGER_S = 100, 0.003
_STALE_CLAIM_MS = 4000
_GATHERING_S = 0.05
_LOOK_AT_GATE_EVERY_S = 0.5

Result = TypeVar("Result")
log = structlog.get_logger()


class Pipeline:
    """Takes deliveries by `take`; `run` moves them on; `drain` waits for those that have begun."""

    def __init__(
        self,
        ledger: SendingLedger,
        calling: tuple[Gateway, Pace],
        publisher: Publisher,
        follow_ups: FollowUps,
        rules: Rules,
    ) -> None:
        self._ledger, self._publisher = ledger, publisher
        self._gateway, self._pace = calling
        self._follow_ups, self._rules = follow_ups, rules
        self._disposer = Disposer(ledger, publisher, follow_ups, rules)
        self._arrivals: asyncio.Queue[Delivery] = asyncio.Queue()
        self._suspects: list[Delivery] = []
        self._suspects_came = asyncio.Event()
        self._outcomes: asyncio.Queue[Done] = asyncio.Queue()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._circuit = Circuit()
        self._claim_tokens = (f"{follow_ups.sender}#{number}" for number in itertools.count())
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing = False

    def take(self, delivery: Delivery) -> None:
        """Queue a delivery; how many may wait is bounded by the prefetch."""
        self._arrivals.put_nowait(delivery)

    async def run(self) -> None:
        """Claim and record micro-batches until cancelled."""
        await asyncio.gather(
            self._claiming(), self._isolating(), self._recording(), self._watching_gate(), self._failure
        )

    def forget(self) -> None:
        """Drop what has not begun: its channel is gone, and the broker delivers it again."""
        self._take_arrivals()
        self._suspects.clear()

    async def cancel(self) -> None:
        """End what has begun; nothing is claimed or called any more."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def drain(self) -> None:
        """Begin nothing more, and wait until all that has begun is recorded and settled."""
        self._closing = True
        while self._under_way:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    async def _claiming(self) -> None:
        while True:
            most = min(_MOST, self._pace.most_at_once or _MOST)
            deliveries, suspects = told_apart(await next_batch(self._arrivals, most, _LINGER_S))
            if suspects:
                self._suspects += suspects
                self._suspects_came.set()
            await self._send_when_possible(deliveries)

    async def _isolating(self) -> None:
        """Handle suspects one at a time, in random order: `Delivery.is_suspect` says why."""
        while True:
            if not self._suspects:
                self._suspects_came.clear()
                await self._suspects_came.wait()
                await asyncio.sleep(_GATHERING_S)
                continue
            delivery = self._suspects.pop(random.randrange(len(self._suspects)))  # noqa: S311 - no secret
            if delivery.is_poison:
                await self._disposer.set_aside(await self._ready([delivery]), poisoned(delivery))
            elif calls := await self._send_when_possible([delivery]):
                await asyncio.wait(calls)

    async def _send_when_possible(self, deliveries: list[Delivery]) -> Sequence[asyncio.Task[None]]:
        """Begin to send what the circuit and the pace let through; the calls."""
        while deliveries := await self._probing(deliveries):
            if wait_s := await self._pace.reserve(len(deliveries)):
                await asyncio.sleep(wait_s)
            if self._closing:
                break
            if not self._circuit.is_open:
                # Shielded: a claim that is cut off halfway leaves rows claimed that nobody sends.
                return await asyncio.shield(self._begin(self._claim_and_send(deliveries)))
        return []

    async def _probing(self, deliveries: list[Delivery]) -> list[Delivery]:
        """While the circuit is open, hold the deliveries (unacked, so the broker sends no more) and try one at a time;
        return those that are left when it closes."""
        held_until_s = time.monotonic() + self._rules.longest_hold_s
        while deliveries and self._circuit.is_open and not self._closing:
            now_s = time.monotonic()
            if now_s >= held_until_s:
                self._begin(self._put_off([*deliveries, *self._take_arrivals()]))
                return []
            if wait_s := self._circuit.wait_s(now_s):
                await asyncio.sleep(min(wait_s, held_until_s - now_s))
                continue
            await asyncio.sleep(await self._pace.reserve(1))
            calls = await asyncio.shield(self._begin(self._claim_and_send(deliveries[:1])))
            deliveries = deliveries[1:]
            if calls:
                await asyncio.wait(calls)
        return deliveries

    def _take_arrivals(self) -> list[Delivery]:
        return [self._arrivals.get_nowait() for _ in range(self._arrivals.qsize())]

    async def _put_off(self, deliveries: Sequence[Delivery]) -> None:
        """Let the broker keep what was held for long: it takes a delivery back that stays unacked for half an hour."""
        retry_at_ms = now_ms() + round(1000 * self._rules.longest_hold_s)
        outcome = Outcome(State.RETRYING, "provider_busy", _BUSY, retry_at_ms=retry_at_ms)
        await self._disposer.set_aside(await self._ready(deliveries), outcome)

    async def _recording(self) -> None:
        while True:
            done = await next_batch(self._outcomes, _MOST, _LINGER_S)
            self._begin(self._record_and_settle(done))

    async def _watching_gate(self) -> None:
        """Pause when any sender was told to."""
        while True:
            if held_s := await self._pace.held_s():
                self._note_circuit(changed=self._circuit.hold(time.monotonic() + held_s), reason=_ANOTHER)
            await asyncio.sleep(_LOOK_AT_GATE_EVERY_S)

    def _begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            # A defect, not a fault: end the sender, so that the broker gives its deliveries to others.
            self._failure.set_exception(error)

    async def _claim_and_send(self, deliveries: Sequence[Delivery]) -> Sequence[asyncio.Task[None]]:
        """Claim, and begin a call for what could be claimed; the calls."""
        for delivery in deliveries:
            crash_at("sender.received", delivery.message_id)
        jobs = await self._ready(deliveries)
        first, copies = first_of_each(jobs)
        if not first:
            return []
        token = next(self._claim_tokens)
        attempts = {key: job.message.attempt for key, job in first.items()}
        claims = await when_ledger_answers(lambda: self._ledger.claim(attempts, token, now_ms()))
        crash_at("sender.claimed")
        calls = [
            self._begin(self._send(first[key], row, position * self._pace.interval_s))
            for position, (key, row) in enumerate(claims.ours.items())
        ]
        others = [job for key, job in first.items() if key not in claims.ours] + copies
        if others:
            self._begin(self._disposer.dispose(others, {**claims.others, **claims.ours}))
        return calls

    async def _ready(self, deliveries: Sequence[Delivery]) -> list[Job]:
        """The readable messages whose time has come; the others are on their way elsewhere."""
        jobs, elsewhere, now = [], [], now_ms()
        for delivery in deliveries:
            try:
                message = read_outbound(delivery.type, delivery.body)
            except UnreadableMessage as error:
                metrics.UNREADABLE.inc()
                elsewhere.append(Settlement(delivery, self._follow_ups.unreadable(delivery, str(error), now)))
                continue
            if (message.not_before_ms or 0) > now:
                later = self._follow_ups.later(message, message.attempt, message.not_before_ms or now, now)
                elsewhere.append(Settlement(delivery, later))
            else:
                jobs.append(Job(delivery, message))
        if elsewhere:
            self._begin(settle(elsewhere, self._publisher))
        return jobs

    async def _send(self, job: Job, row: Row, wait_s: float) -> None:
        was_unclear = self._rules.was_unclear(row)
        if wait_s:
            await asyncio.sleep(wait_s)
        if row.expires_at_ms is not None and row.expires_at_ms <= now_ms():
            await self._settled(job, row, mindful(expired(), was_unclear=was_unclear))
            return
        result = await self._call(row)
        crash_at("sender.answered")
        outcome = decide(
            result,
            attempt=row.attempt,
            may_resend=self._rules.may_resend(row),
            expires_at_ms=row.expires_at_ms,
            now_ms=now_ms(),
            policy=self._rules.policy,
        )
        await self._settled(job, row, mindful(outcome, was_unclear=was_unclear))

    async def _settled(self, job: Job, row: Row, outcome: Outcome) -> None:
        """Hand the outcome on to be recorded, and wait until it is recorded and settled: only then is the job over."""
        done = Done(job, row, outcome, asyncio.get_running_loop().create_future())
        self._outcomes.put_nowait(done)
        await done.settled

    async def _call(self, row: Row) -> CallResult:
        if now_ms() - (row.claimed_at_ms or 0) > _STALE_CLAIM_MS:
            # This process stood still: others may hold the row as unclear by now, so no call may be made any more.
            return CallResult(
                Verdict.NOT_SENT, "sender_stalled", "The sender stood still before it called the provider"
            )
        started_at_s = time.perf_counter()
        with metrics.CALLS_IN_FLIGHT.track_inprogress():
            result = await self._gateway.send(TextMessage(message_id(row.batch_id, row.row), row.recipient, row.text))
        held_until_s = self._circuit.held_until_s
        self._note_circuit(changed=self._circuit.record(result, time.monotonic()), reason=result.reason)
        if result.retry_after_s and self._circuit.held_until_s > held_until_s:
            self._begin(self._pace.hold(result.retry_after_s))
        metrics.PROVIDER_SECONDS.labels(result.verdict).observe(time.perf_counter() - started_at_s)
        return result

    def _note_circuit(self, *, changed: bool, reason: str | None) -> None:
        if changed:
            metrics.CIRCUIT_OPEN.set(self._circuit.is_open)
            log.warning("circuit_opened" if self._circuit.is_open else "circuit_closed", reason=reason)

    async def _record_and_settle(self, done: Sequence[Done]) -> None:
        now = now_ms()
        records = [Recorded(item.row.batch_id, item.row.row, item.row.attempt, item.outcome) for item in done]
        await when_ledger_answers(lambda: self._ledger.record(records, now))
        crash_at("sender.recorded")
        for item in done:
            metrics.OUTCOMES.labels(item.outcome.state).inc()
        await settle([self._settlement(item.job, item.row, item.outcome, now) for item in done], self._publisher)
        for item in done:
            item.settled.set_result(None)

    def _settlement(self, job: Job, row: Row, outcome: Outcome, now: int) -> Settlement:
        return Settlement(job.delivery, self._follow_ups.after(job.message, job.delivery, row, outcome, now))


_BUSY = "The provider as a whole took nothing for a while; the next try comes later"
_ANOTHER = "the provider asked another sender for a pause"
