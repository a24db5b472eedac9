"""Settling deliveries that are not sent: their rows are somebody else's, or get an outcome without a call."""

from collections.abc import Mapping, Sequence

from services.sender import metrics
from services.sender.follow_ups import FollowUps, recorded_outcome
from services.sender.stages import Plan, Rules, Turn, first_of_each
from shared.amqp.publisher import Publisher
from shared.amqp.settle import Settlement, settle
from shared.clock import now_ms
from shared.domain.message import Key, MessageRow
from shared.domain.outcome import SENDER_DIED, Outcome, decide_after_call, keep_if_maybe_sent
from shared.domain.stale import StaleDecision, Step, decide_stale
from shared.domain.states import BatchState, State
from shared.error_log import ErrorLog
from shared.ledger.sending import SendingLedger
from shared.ledger.suppressions import OPTED_OUT, OPTED_OUT_REASON
from shared.ledger.waiting import when_ledger_answers


class StaleSettler:
    """Moves the rows that have to move, publishes what follows, and acks."""

    def __init__(
        self, ledger: SendingLedger, publisher: Publisher, follow_ups: FollowUps, rules: Rules, error_log: ErrorLog
    ) -> None:
        self._ledger, self._publisher = ledger, publisher
        self._follow_ups, self._rules, self._error_log = follow_ups, rules, error_log

    async def record_without_call(self, turns: Sequence[Turn], outcome: Outcome) -> None:
        """Give the turns' rows an outcome without a call, and settle by it."""
        await self._recorded(turns, outcome, leaves_pending=False)

    async def moved_without_call(self, turns: Sequence[Turn], outcome: Outcome) -> Sequence[Turn]:
        """The same, but for the turns whose rows are pending, which are left as they are."""
        return await self._recorded(turns, outcome, leaves_pending=True)

    async def _recorded(self, turns: Sequence[Turn], outcome: Outcome, *, leaves_pending: bool) -> Sequence[Turn]:
        first, copies = first_of_each(turns)
        if not first:
            return []
        attempts, now = {key: turn.message.attempt for key, turn in first.items()}, now_ms()
        claims = await when_ledger_answers(lambda: self._ledger.record_without_call(attempts, outcome, now))
        settlements = []
        for key, row in claims.ours.items():
            turn = first[key]
            self._error_log.note(row.ended, recorded_outcome(row))
            follow_up = self._follow_ups.after(turn.message, turn.delivery, row, recorded_outcome(row), now)
            settlements.append(Settlement(turn.delivery, follow_up))
        await settle(settlements, self._publisher)
        left = [
            turn
            for key, turn in first.items()
            if leaves_pending and key in claims.others and claims.others[key].state is State.PENDING
        ]
        others = [turn for key, turn in first.items() if key not in claims.ours and turn not in left] + copies
        if others:
            await self.settle(others, {**claims.others, **claims.ours})
        return left

    async def settle(self, turns: Sequence[Turn], rows: Mapping[Key, MessageRow]) -> None:
        """Settle the turns whose rows, as the ledger has them, are not ours to send."""
        now = now_ms()
        plans = []
        for turn in turns:
            row = rows.get(turn.key)
            plans.append((turn, row, decide_stale(turn.message.attempt, row, now, self._rules.lease_ms)))
        plans = await self._moved(plans, now)
        for _job, _row, decision in plans:
            metrics.UNCLAIMED.labels(decision.step.name.lower()).inc()
        settlements = [
            Settlement(turn.delivery, self._follow_ups.after_stale(turn.message, turn.delivery, row, decision, now))
            for turn, row, decision in plans
        ]
        await settle(settlements, self._publisher)

    async def _moved(self, plans: list[Plan], now: int) -> list[Plan]:
        """The plans, with the rows moved that they want moved; a row that changed meanwhile is looked at again."""
        moves = {
            row.key: (row, outcome)
            for _job, row, decision in plans
            if row and (outcome := _move_to(row, decision.step, self._rules, now))
        }
        if not moves:
            return plans
        moved = await when_ledger_answers(lambda: self._ledger.move(list(moves.values()), now))
        for key in moved:
            row, outcome = moves[key]
            self._error_log.note(row.ended, outcome)
        outcomes = {key: outcome for key, (_row, outcome) in moves.items()}
        return [_after_move(plan, outcomes, moved) for plan in plans]


def _move_to(row: MessageRow, step: Step, rules: Rules, now: int) -> Outcome | None:
    """Where a step moves its row; None where it stays."""
    if step is Step.PARK:
        return Outcome(State.PENDING)
    if step is Step.CANCEL:
        return keep_if_maybe_sent(Outcome(State.CANCELLED), was_unclear=rules.was_unclear(row))
    if step is Step.SUPPRESS:
        suppressed = Outcome(State.SUPPRESSED, OPTED_OUT, OPTED_OUT_REASON)
        return keep_if_maybe_sent(suppressed, was_unclear=rules.was_unclear(row))
    if step is not Step.HOLD:
        return None
    return decide_after_call(
        SENDER_DIED,
        attempt=row.attempt - row.uncounted,
        may_resend=rules.may_resend(row) and row.batch_state is not BatchState.CANCELLED,
        expires_at_ms=row.expires_at_ms,
        now_ms=now,
        policy=rules.policy,
    )


def _after_move(plan: Plan, outcomes: Mapping[Key, Outcome], moved: set[Key]) -> Plan:
    turn, row, decision = plan
    if row is None or row.key not in outcomes:
        return plan
    if row.key not in moved:
        return turn, row, StaleDecision(Step.WAIT)
    return turn, row.after(outcomes[row.key]), decision
