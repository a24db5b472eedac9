"""A delivery's way through a sender: claim, send, record, settle; in micro-batches, each stage a function."""

import asyncio
import dataclasses
import itertools
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import structlog

from services.sender import metrics
from services.sender.circuit import Circuit
from services.sender.follow_ups import FollowUps
from services.sender.gateways import Gateway, TextMessage
from services.sender.jobs import Done, Job, Plan, Rules, first_of_each
from services.sender.unclaimed import Disposal, Step, dispose
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.amqp.settle import Settlement, settle
from shared.clock import now_ms
from shared.errors import UnreadableMessage
from shared.ledger.sending import Key, Recorded, Row, SendingLedger
from shared.ledger.waiting import when_ledger_answers
from shared.messages import message_id, read_outbound
from shared.micro_batch import next_batch
from shared.outcome import CallResult, Outcome, Verdict, decide, expired
from shared.states import State

_MOST, _LINGER_S = 100, 0.003
_STALE_CLAIM_MS = 4000
_LONGEST_HOLD_S = 600

log = structlog.get_logger()


class Pipeline:
    """Takes deliveries by `take`; `run` moves them on; `drain` waits for those that have begun."""

    def __init__(
        self, ledger: SendingLedger, gateway: Gateway, publisher: Publisher, follow_ups: FollowUps, rules: Rules
    ) -> None:
        self._ledger, self._gateway, self._publisher = ledger, gateway, publisher
        self._follow_ups, self._rules = follow_ups, rules
        self._arrivals: asyncio.Queue[Delivery] = asyncio.Queue()
        self._outcomes: asyncio.Queue[Done] = asyncio.Queue()
        self._under_way: set[asyncio.Task[None]] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._circuit = Circuit()
        self._claim_tokens = (f"{follow_ups.sender}#{number}" for number in itertools.count())
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing = False

    def take(self, delivery: Delivery) -> None:
        """Queue a delivery; how many may wait is bounded by the prefetch."""
        self._arrivals.put_nowait(delivery)

    async def run(self) -> None:
        """Claim and record micro-batches until cancelled."""
        await asyncio.gather(self._claiming(), self._recording(), self._failure)

    def forget(self) -> None:
        """Drop what has not begun: its channel is gone, and the broker delivers it again."""
        self._take_arrivals()

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
            deliveries = await next_batch(self._arrivals, _MOST, _LINGER_S)
            deliveries = await self._probing(deliveries)
            if deliveries and not self._closing:
                # Shielded: a claim that is cut off halfway leaves rows claimed that nobody sends.
                await asyncio.shield(self._begin(self._claim_and_send(deliveries)))

    async def _probing(self, deliveries: list[Delivery]) -> list[Delivery]:
        """While the circuit is open, hold the deliveries (unacked, so the broker sends no more) and try one at a time;
        return those that are left when it closes."""
        held_until_s = time.monotonic() + _LONGEST_HOLD_S
        while deliveries and self._circuit.is_open and not self._closing:
            now_s = time.monotonic()
            if now_s >= held_until_s:
                self._begin(self._put_off([*deliveries, *self._take_arrivals()]))
                return []
            if wait_s := self._circuit.wait_s(now_s):
                await asyncio.sleep(min(wait_s, held_until_s - now_s))
                continue
            await asyncio.shield(self._begin(self._claim_and_send(deliveries[:1])))
            deliveries = deliveries[1:]
            while self._calls:
                await asyncio.wait(self._calls)
        return deliveries

    def _take_arrivals(self) -> list[Delivery]:
        return [self._arrivals.get_nowait() for _ in range(self._arrivals.qsize())]

    async def _put_off(self, deliveries: Sequence[Delivery]) -> None:
        """Let the broker keep what was held for long: it takes a delivery back that stays unacked for half an hour."""
        now = now_ms()
        longest_ms = round(1000 * self._rules.policy.tiers_s[-1])
        settlements = [
            Settlement(job.delivery, self._follow_ups.later(job.message, job.message.attempt, now + longest_ms, now))
            for job in await self._ready(deliveries)
        ]
        await settle(settlements, self._publisher)

    async def _recording(self) -> None:
        while True:
            done = await next_batch(self._outcomes, _MOST, _LINGER_S)
            self._begin(self._record_and_settle(done))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            # A defect, not a fault: end the sender, so that the broker gives its deliveries to others.
            self._failure.set_exception(error)

    async def _claim_and_send(self, deliveries: Sequence[Delivery]) -> None:
        jobs = await self._ready(deliveries)
        first, copies = first_of_each(jobs)
        if not first:
            return
        token = next(self._claim_tokens)
        attempts = {key: job.message.attempt for key, job in first.items()}
        claims = await when_ledger_answers(lambda: self._ledger.claim(attempts, token, now_ms()))
        for key, row in claims.ours.items():
            call = self._begin(self._send(first[key], row))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        others = [job for key, job in first.items() if key not in claims.ours] + copies
        if others:
            self._begin(self._dispose(others, {**claims.others, **claims.ours}))

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

    async def _send(self, job: Job, row: Row) -> None:
        if row.expires_at_ms is not None and row.expires_at_ms <= now_ms():
            await self._settled(job, row, expired())
            return
        outcome = decide(
            await self._call(row),
            attempt=row.attempt,
            may_resend=row.may_resend or self._rules.provider_deduplicates,
            expires_at_ms=row.expires_at_ms,
            now_ms=now_ms(),
            policy=self._rules.policy,
        )
        await self._settled(job, row, outcome)

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
        if self._circuit.record(result, time.monotonic()):
            metrics.CIRCUIT_OPEN.set(self._circuit.is_open)
            log.warning("circuit_opened" if self._circuit.is_open else "circuit_closed", reason=result.reason)
        metrics.PROVIDER_SECONDS.labels(result.verdict).observe(time.perf_counter() - started_at_s)
        return result

    async def _record_and_settle(self, done: Sequence[Done]) -> None:
        now = now_ms()
        records = [Recorded(item.row.batch_id, item.row.row, item.row.attempt, item.outcome) for item in done]
        await when_ledger_answers(lambda: self._ledger.record(records, now))
        for item in done:
            metrics.OUTCOMES.labels(item.outcome.state).inc()
        await settle([self._settlement(item, now) for item in done], self._publisher)
        for item in done:
            item.settled.set_result(None)

    def _settlement(self, done: Done, now: int) -> Settlement:
        job = done.job
        return Settlement(job.delivery, self._follow_ups.after(job.message, job.delivery, done.row, done.outcome, now))

    async def _dispose(self, jobs: Sequence[Job], rows: Mapping[Key, Row]) -> None:
        """Settle deliveries whose rows are not ours to send."""
        now = now_ms()
        plans = []
        for job in jobs:
            row = rows.get(job.key)
            plans.append((job, row, dispose(job.message, row, now, self._rules.lease_ms)))
        plans = await self._moved(plans, now)
        for _job, _row, disposal in plans:
            metrics.UNCLAIMED.labels(disposal.step.name.lower()).inc()
        settlements = [
            Settlement(job.delivery, self._follow_ups.disposal(job.message, job.delivery, row, disposal, now))
            for job, row, disposal in plans
        ]
        await settle(settlements, self._publisher)

    async def _moved(self, plans: list[Plan], now: int) -> list[Plan]:
        """The plans, with the rows moved that they want moved; a row that changed meanwhile is looked at again."""
        moves = [(row, _MOVES[disposal.step]) for _job, row, disposal in plans if row and disposal.step in _MOVES]
        if not moves:
            return plans
        moved = await when_ledger_answers(lambda: self._ledger.move(moves, now))
        return [_after_move(plan, moved) for plan in plans]


_MOVES = {
    Step.HOLD: Outcome(State.UNKNOWN, "sender_died", "The sender died during the call: it may have been sent"),
    Step.PARK: Outcome(State.PENDING),
    Step.CANCEL: Outcome(State.CANCELLED),
}


def _after_move(plan: Plan, moved: set[Key]) -> Plan:
    job, row, disposal = plan
    if row is None or disposal.step not in _MOVES:
        return plan
    if row.key not in moved:
        return job, row, Disposal(Step.WAIT)
    outcome = _MOVES[disposal.step]
    changed = dataclasses.replace(row, state=outcome.state, error_code=outcome.code, error_reason=outcome.reason)
    return job, changed, disposal
