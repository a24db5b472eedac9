"""A delivery's way through a sender: claim, send, record, settle; in micro-batches, each stage a function."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence

import structlog

from services.sender import metrics
from services.sender.calling import Calling
from services.sender.follow_ups import FollowUps
from services.sender.handing_back import HandingBack
from services.sender.heartbeat import LastMinute
from services.sender.opted_out import OptedOut
from services.sender.provider import Provider
from services.sender.providers.gateway import Gateway
from services.sender.rate_limiter import RateLimiter
from services.sender.stages import Claimed, Ended, Rules, first_of_each, in_parts
from services.sender.stale_settler import StaleSettler
from services.sender.suspects import partition_suspects, poisoned
from services.sender.turn_reader import TurnReader
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.amqp.settle import Settlement, settle
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.domain.outcome import Outcome
from shared.domain.routing import Routing
from shared.domain.states import State
from shared.error_log import ENDED_BADLY, ErrorLog
from shared.ledger.clock import LedgerClock
from shared.ledger.provider_senders import Activity
from shared.ledger.sending import Recorded, SendingLedger
from shared.ledger.waiting import when_ledger_answers
from shared.micro_batch import next_batch
from shared.running_tasks import RunningTasks

log = structlog.get_logger()

_MOST, _LINGER_S = 200, 0.003
_MOST_IN_CALLS = 100
"""Where several numbers share a call: what is left over from full calls then fills up the next one."""
_GATHERING_S = 0.05
_LOOK_AT_CIRCUIT_EVERY_S = 0.25
_WORTH_HANDING_BACK_S = 1.0


class Pipeline:
    """Takes deliveries by `take`; `run` moves them on; `drain` waits for those that have begun."""

    def __init__(
        self,
        ledger: tuple[SendingLedger, LedgerClock],
        calling: tuple[Gateway, RateLimiter, Routing | None],
        publisher: Publisher,
        follow_ups: FollowUps,
        rules: Rules,
        opted_out: OptedOut,
    ) -> None:
        self._ledger, self._clock = ledger
        self._publisher, self._follow_ups, self._rules, self._opted_out = publisher, follow_ups, rules, opted_out
        self._error_log = ErrorLog()
        self._stale = StaleSettler(self._ledger, publisher, follow_ups, rules, self._error_log)
        self._under_way = RunningTasks()
        self._reader = TurnReader(publisher, follow_ups, self._under_way)
        self._handing_back = HandingBack(self._reader, self._stale)
        self._arrivals: asyncio.Queue[Delivery] = asyncio.Queue()
        self._suspects: list[Delivery] = []
        self._suspects_came = asyncio.Event()
        self._ended: asyncio.Queue[Ended] = asyncio.Queue()
        gateway, limiter, routing = calling
        self._provider = Provider(gateway, limiter, self._under_way, rules.concurrency)
        self._calling = Calling(self._provider, rules, self._under_way, self._ended)
        self._calling.routing = routing
        self._most = _MOST if self._provider.max_recipients == 1 else max(_MOST_IN_CALLS, self._provider.max_recipients)
        self._claim_tokens = (f"{follow_ups.sender}#{number}" for number in itertools.count())
        self._last_minute = LastMinute()
        self._closing = False

    def use(self, gateway: Gateway, limiter: RateLimiter, routing: Routing | None) -> None:
        """As `Provider.use`; by `routing` it is known which messages are the provider's, where there are others."""
        self._provider.use(gateway, limiter)
        self._calling.routing = routing

    @property
    def activity(self) -> Activity:
        """What it does just now."""
        return Activity(self._provider.calls_under_way, *self._last_minute.sums())

    def take(self, delivery: Delivery) -> None:
        """Queue a delivery; how many may wait is bounded by the prefetch."""
        self._arrivals.put_nowait(delivery)

    async def run(self) -> None:
        """Claim and record micro-batches until cancelled; a pause that others were told of holds before the first."""
        await self._provider.shorten_pause()
        await self._provider.look_at_gate()
        await asyncio.gather(
            self._claiming(),
            self._isolating(),
            self._recording(),
            self._provider.watch_gate(),
            self._under_way.failure,
        )

    def forget(self) -> None:
        """Drop what has not begun: its channel is gone, and the broker delivers it again."""
        self._take_arrivals()
        self._suspects.clear()

    async def cancel(self) -> None:
        """End what has begun; nothing is claimed or called any more."""
        await self._under_way.cancel()

    async def drain(self) -> None:
        """Begin nothing more, and wait until all that has begun is recorded and settled."""
        self._closing = True
        await self._under_way.ended()
        self._error_log.flush()

    async def _claiming(self) -> None:
        while True:
            arrived = await next_batch(self._arrivals, self._provider.most_numbers(self._most), _LINGER_S)
            deliveries, suspects = partition_suspects(arrived)
            if suspects:
                self._suspects += suspects
                self._suspects_came.set()
            await self._while_in_doubt(await self._send_when_possible(deliveries))

    async def _while_in_doubt(self, calls: Sequence[asyncio.Task[None]]) -> None:
        """Claim no more before these calls end, or one shows that the provider works."""
        pending = set(calls)
        while pending and self._provider.circuit.is_doubtful:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)

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
                await self._stale.record_without_call(self._reader.ready([delivery]), poisoned(delivery))
            elif calls := await self._send_when_possible([delivery]):
                await asyncio.wait(calls)

    async def _send_when_possible(self, deliveries: list[Delivery]) -> Sequence[asyncio.Task[None]]:
        """Begin to send what the circuit and the pace let through; the calls."""
        calls: list[asyncio.Task[None]] = []
        while deliveries := await self._probing(deliveries):
            # The pace, or the trust in the provider, may have been another when these were taken.
            some = deliveries[: self._provider.most_numbers(self._most)]
            slot_s = await self._provider.reserve(some)
            await self._provider.wait_to_claim(slot_s)
            if self._closing:
                break
            if not self._provider.circuit.is_open:
                # Shielded: a claim that is cut off halfway leaves rows claimed that nobody sends.
                calls += await asyncio.shield(self._under_way.begin(self._claim_and_send(some)))
                deliveries = deliveries[len(some) :]
                if deliveries:
                    await self._while_in_doubt(calls)
        return calls

    async def _probing(self, deliveries: list[Delivery]) -> list[Delivery]:
        """While the circuit is open, hold the deliveries (unacked, so the broker sends no more) and try one at a time;
        return those that are left when it closes."""
        held_until_s = time.monotonic() + self._rules.longest_hold_s
        while deliveries and self._provider.circuit.is_open and not self._closing:
            now_s = time.monotonic()
            if now_s >= held_until_s:
                self._under_way.begin(self._put_off([*deliveries, *self._take_arrivals()]))
                return []
            wait_s = self._provider.circuit.wait_s(now_s)
            if self._rules.hands_back and wait_s > _WORTH_HANDING_BACK_S:
                self._under_way.begin(self._handing_back.hand_back([*deliveries, *self._take_arrivals()]))
                return []
            if wait_s:
                # Not all of it at once: the pause may be lifted meanwhile.
                await asyncio.sleep(min(wait_s, held_until_s - now_s, _LOOK_AT_CIRCUIT_EVERY_S))
                continue
            slot_s = await self._provider.reserve(deliveries[:1])
            await self._provider.wait_to_claim(slot_s)
            if self._closing:
                break
            if self._provider.circuit.wait_s(time.monotonic()):
                continue
            calls = await asyncio.shield(self._under_way.begin(self._claim_and_send(deliveries[:1])))
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
        await self._stale.record_without_call(self._reader.ready(deliveries), outcome)

    async def _recording(self) -> None:
        """One record at a time: what ends meanwhile goes with the next, so that the busier a sender is, the fewer
        transactions it makes."""
        while True:
            for calls in in_parts(await next_batch(self._ended, _MOST, _LINGER_S), _MOST):
                await asyncio.shield(self._under_way.begin(self._record(calls)))

    async def _claim_and_send(self, deliveries: Sequence[Delivery]) -> Sequence[asyncio.Task[None]]:
        """Claim, and begin a call for what could be claimed; the calls."""
        if not self._clock.is_right:
            return []  # the broker has been given them back
        for delivery in deliveries:
            crash_at("sender.received", delivery.message_id)
        turns = self._reader.ready(deliveries)
        first, copies = first_of_each(turns)
        if not first:
            return []
        token = next(self._claim_tokens)
        attempts = {key: turn.message.attempt for key, turn in first.items()}
        claims = await when_ledger_answers(lambda: self._ledger.claim(attempts, token, now_ms()))
        crash_at("sender.claimed")
        calls = self._calling.begin([Claimed(first[key], row) for key, row in claims.ours.items()])
        others = [turn for key, turn in first.items() if key not in claims.ours] + copies
        if others:
            self._under_way.begin(self._stale.settle(others, {**claims.others, **claims.ours}))
        return calls

    async def _record(self, calls: Sequence[Ended]) -> None:
        now = now_ms()
        done = [one for call in calls for one in call.done]
        records = [
            Recorded(row.batch_id, row.row, row.attempt, one.outcome) for one in done for row in (one.claimed.row,)
        ]
        await self._opted_out.note(done)
        blown = await when_ledger_answers(lambda: self._ledger.record(records, now))
        crash_at("sender.recorded")
        for each in blown:
            metrics.FUSES_BLOWN.inc()
            log.error("batch_paused", batch_id=each.batch_id, paused_by="fuse", code=each.code, refused=each.refused)
        states = Counter(one.outcome.state for one in done)
        for state, number in states.items():
            metrics.OUTCOMES.labels(state).inc(number)
        self._last_minute.add(states[State.SENT], states[State.FAILED])
        for one in done:
            if one.outcome.state in ENDED_BADLY:
                self._error_log.note(one.claimed.row.ended, one.outcome)
        self._under_way.begin(self._settle(calls, now))

    async def _settle(self, calls: Sequence[Ended], now: int) -> None:
        done = [one for call in calls for one in call.done]
        await settle([self._settlement(one.claimed, one.outcome, now) for one in done], self._publisher)
        for call in calls:
            if not call.settled.done():  # by who waited for it and was cut off
                call.settled.set_result(None)

    def _settlement(self, claimed: Claimed, outcome: Outcome, now: int) -> Settlement:
        turn = claimed.turn
        return Settlement(turn.delivery, self._follow_ups.after(turn.message, turn.delivery, claimed.row, outcome, now))


_BUSY = "The provider as a whole took nothing for a while; the next try comes later"
