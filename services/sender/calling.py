"""From claimed rows to outcomes: which numbers share a call, the call, and what came of it for each of them."""

import asyncio
from collections.abc import Callable, Hashable, Iterator, Sequence

import orjson

from services.sender.provider import Provider
from services.sender.providers.gateway import TextMessage
from services.sender.stages import Claimed, Done, Ended, Rules
from shared.clock import now_ms
from shared.crash_points import crash_at
from shared.domain.message import message_id
from shared.domain.outcome import CallResult, Outcome, Verdict, decide_after_call, expired, keep_if_maybe_sent
from shared.domain.routing import Routing
from shared.domain.states import State
from shared.running_tasks import RunningTasks


class Calling:
    """Makes the calls for claimed rows, and hands what came of them on to `ended`."""

    def __init__(self, provider: Provider, rules: Rules, under_way: RunningTasks, ended: asyncio.Queue[Ended]) -> None:
        self._provider, self._rules = provider, rules
        self._under_way, self._ended = under_way, ended
        self.routing: Routing | None = None
        """Which messages are the provider's, where there are others."""

    def begin(self, claimed: Sequence[Claimed]) -> Sequence[asyncio.Task[None]]:
        """Begin the calls, at the provider's pace; each task ends when all of its call is recorded and settled."""
        if self.routing is not None:
            others = [one for one in claimed if self._is_anothers(one, self.routing)]
            if others:
                claimed = [one for one in claimed if not self._is_anothers(one, self.routing)]
                self._under_way.begin(self._hand_back(others))
        calls = in_calls(claimed, self._provider.max_recipients, lambda one: self._provider.share_key(_message(one)))
        return [self._under_way.begin(self._send(together)) for together in calls]

    def _is_anothers(self, one: Claimed, routing: Routing) -> bool:
        row, lane = one.row, one.turn.message.lane
        return not row.is_tied and not routing.takes(self._provider.name, row.recipient, lane, row.pin, row.template_id)

    async def _hand_back(self, others: Sequence[Claimed]) -> None:
        """Have messages fed again that came to the wrong queue: a replayed letter, or one that was routed by another
        file than this sender's. Slowly: until both have the same, it would come back at once."""
        await asyncio.sleep(_BEFORE_HANDING_BACK_S)
        await self._settled([Done(one, _ANOTHERS) for one in others])

    def _units_of(self, together: Sequence[Claimed]) -> int:
        return self._provider.units(len(together), lambda: _segments(together))

    async def _send(self, claimed: Sequence[Claimed]) -> None:
        async with self._provider.room:
            if self._provider.is_paced and not await self._provider.turn(
                self._units_of(claimed), self._left_s(claimed)
            ):
                await self._settled([Done(one, _no_turn()) for one in claimed])
                return
            now = now_ms()
            late = [one for one in claimed if one.is_late(now)]
            due = [one for one in claimed if not one.is_late(now)] if late else claimed
            answer = await self._call(due) if due else ()
        done = [Done(one, self._kept_if_maybe_sent(one, expired())) for one in late]
        if due:
            crash_at("sender.answered")
            if isinstance(answer, CallResult):
                if len(due) > 1 and self._provider.may_be_of_one(answer):
                    await self._send_halves(claimed)
                    return
                answer = [answer] * len(due)
            done += [Done(one, self._outcome(one, result)) for one, result in zip(due, answer, strict=True)]
        await self._settled(done)

    async def _send_halves(self, claimed: Sequence[Claimed]) -> None:
        """Find the numbers that a call was refused for: what the provider refuses a single number is for good."""
        middle = len(claimed) // 2
        halves = claimed[:middle], claimed[middle:]
        await asyncio.gather(*(self._under_way.begin(self._send(half)) for half in halves))

    async def _call(self, due: Sequence[Claimed]) -> CallResult | Sequence[CallResult]:
        if self._left_s(due) < 0:
            # Others may hold the rows as unclear by the time that a call would end, so none may be made any more.
            return _STALLED
        return await self._provider.call([_message(one) for one in due])

    def _left_s(self, claimed: Sequence[Claimed]) -> float:
        """How long a call for these may still be begun."""
        claimed_at_ms = min(one.row.claimed_at_ms or 0 for one in claimed)
        return (claimed_at_ms + self._rules.call_within_ms - now_ms()) / 1000

    def _outcome(self, one: Claimed, result: CallResult) -> Outcome:
        row = one.row
        outcome = decide_after_call(
            result,
            attempt=row.attempt - row.uncounted,
            may_resend=self._rules.may_resend(row),
            expires_at_ms=row.expires_at_ms,
            now_ms=now_ms(),
            policy=self._rules.policy,
        )
        return self._kept_if_maybe_sent(one, outcome)

    def _kept_if_maybe_sent(self, one: Claimed, outcome: Outcome) -> Outcome:
        return keep_if_maybe_sent(outcome, was_unclear=self._rules.was_unclear(one.row))

    async def _settled(self, done: Sequence[Done]) -> None:
        """Hand the outcomes on to be recorded, and wait until they are recorded and settled: only then is it over."""
        ended = Ended(done, asyncio.get_running_loop().create_future())
        self._ended.put_nowait(ended)
        await ended.settled


def in_calls(
    claimed: Sequence[Claimed], most: int, share_key: Callable[[Claimed], Hashable]
) -> Iterator[Sequence[Claimed]]:
    """As few calls as may be, of at most so many numbers each, and of numbers with one key."""
    if most == 1:
        yield from ((one,) for one in claimed)
        return
    groups: dict[Hashable, list[Claimed]] = {}
    for one in claimed:
        groups.setdefault(share_key(one), []).append(one)
    for group in groups.values():
        yield from (group[first : first + most] for first in range(0, len(group), most))


def _segments(together: Sequence[Claimed]) -> int:
    return sum(one.turn.message.segments for one in together)


def _message(one: Claimed) -> TextMessage:
    row = one.row
    reference = message_id(row.batch_id, row.row)
    if row.template_id is None:
        return TextMessage(reference, row.recipient, row.text, row.attempt)
    variables = orjson.loads(row.variables) if row.variables else {}
    return TextMessage(reference, row.recipient, row.text, row.attempt, row.template_id, variables)


_BEFORE_HANDING_BACK_S = 2.0
_ANOTHERS = Outcome(
    State.PENDING, "another_provider", "It is for another provider than the one whose queue it was in", uncounted=True
)
_NO_TURN = "Its turn at the provider's rate comes later than a message may be held for"
_AGAIN_AFTER_MS = 1000


def _no_turn() -> Outcome:
    retry_at_ms = now_ms() + _AGAIN_AFTER_MS
    return Outcome(State.RETRYING, "rate_reached", _NO_TURN, retry_at_ms=retry_at_ms, uncounted=True)


_STALLED = CallResult(
    Verdict.NOT_SENT, "sender_stalled", "The sender stood still, or took too long, before it called the provider"
)
