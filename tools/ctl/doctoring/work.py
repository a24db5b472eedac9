"""Whether the work gets done: consumers, dead letters that come in, numbers that stand still."""

import asyncio
from collections.abc import Mapping, Sequence

from shared.clock import now_ms
from shared.domain.states import State
from shared.ledger.auditing import AuditedBatch, AuditLedger
from shared.ledger.diagnosing import DiagnosisLedger, Ended
from shared.ledger.recovery import RecoveryLedger
from shared.topology import (
    BATCHES,
    DEAD_LETTER,
    DEAD_LETTER_BATCHES_QUEUE,
    INBOUND_QUEUE,
    OUTBOUND,
    RECEIPTS,
    RETRY,
    UNKNOWN_QUEUE,
    Lane,
    outbound_queue,
)
from tools.ctl.auditing.batches import standing_still
from tools.ctl.doctoring.amqp import Counts, queue_counts
from tools.ctl.doctoring.findings import Finding, count, hint
from tools.ctl.doctoring.system import System

_TAKEN_IN = dict.fromkeys((BATCHES, RECEIPTS, INBOUND_QUEUE), "dispatcher")
_CONSUMED = {**_TAKEN_IN, **{outbound_queue(lane): "sender" for lane in Lane}}
_LETTERS = (DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, UNKNOWN_QUEUE)
_LIST, _LIST_UNKNOWN = "smsctl dead-letters list", "smsctl unknown list"
_GROWING_MS = 10 * 60 * 1000
_BATCHES_LOOKED_AT = 20
_STILL_AFTER_RECOVERIES = 2
"""How many of recovery's periods a number may stand still: by then the dispatcher should have moved it on."""


def look_at_consumers(system: System) -> list[Finding]:
    """The work queues that nobody consumes."""
    there = queue_counts(system.urls, list(_CONSUMED))
    return [
        Finding(
            f"nobody consumes {queue}: no {_CONSUMED[queue]} is connected, {count(counts.ready, 'message')} waiting",
            f"docker compose start {_CONSUMED[queue]}, or make run; else read the {_CONSUMED[queue]}'s log",
        )
        for queue, counts in there.items()
        if counts.consumers == 0
    ]


def look_at_letters(system: System) -> list[Finding]:
    """The dead letters that there are; a hint, whoever knows of them."""
    there = queue_counts(system.urls, list(_LETTERS))
    todo = {UNKNOWN_QUEUE: _LIST_UNKNOWN}
    return [
        hint(f"{count(counts.ready, 'dead letter')} in {queue}", todo.get(queue, _LIST))
        for queue, counts in there.items()
        if counts.ready
    ]


def look_at_ends(system: System) -> list[Finding]:
    """The numbers and batches that ended as dead letters within the last ten minutes."""
    return asyncio.run(_ends(system, now_ms() - _GROWING_MS))


def look_for_standing_still(system: System) -> list[Finding]:
    """The numbers that have not moved for long although nothing in the queues holds them up."""
    there = queue_counts(system.urls, [queue.name for queue in system.topology.queues])
    still_before_ms = now_ms() - round(1000 * _STILL_AFTER_RECOVERIES * system.recover_after_s)
    return asyncio.run(_still(system, there, still_before_ms))


def growing(ended: Sequence[Ended], given_up: int) -> list[Finding]:
    """What is to be said of the dead letters that came in within the last ten minutes."""
    findings = []
    for state, todo in (
        (State.FAILED, _LIST),
        (State.UNKNOWN, _LIST_UNKNOWN),
    ):
        of_state = [each for each in ended if each.state is state]
        if of_state:
            reasons = ", ".join(f"{each.code or 'no code'} {each.number}" for each in of_state)
            number = sum(each.number for each in of_state)
            what = f"dead letters are growing: {count(number, 'number')} became {state} within the last ten minutes"
            findings.append(Finding(f"{what} ({reasons})", todo))
    if given_up:
        what = f"dead letters are growing: {count(given_up, 'batch', 'batches')} could not be sent as a whole"
        findings.append(Finding(f"{what} within the last ten minutes", _LIST))
    return findings


def held_up_by(state: State, lane: str, there: Mapping[str, Counts]) -> bool:
    """Whether messages that wait explain why numbers of a state stand still: then it is only slow."""
    if state is State.QUEUED:
        return _ready(there, outbound_queue(lane)) > 0
    if state is State.RETRYING:
        return any(_ready(there, queue) > 0 for queue in there if queue.startswith((f"{RETRY}.", f"{OUTBOUND}.")))
    return False


def _ready(there: Mapping[str, Counts], queue: str) -> int:
    return there[queue].ready if queue in there else 0


async def _ends(system: System, since_ms: int) -> list[Finding]:
    async with system.ledger() as database:
        ledger = DiagnosisLedger(database)
        return growing(await ledger.ended_badly(since_ms), await ledger.given_up(since_ms))


async def _still(system: System, there: Mapping[str, Counts], still_before_ms: int) -> list[Finding]:
    async with system.ledger() as database:
        unsettled, ledger = await RecoveryLedger(database).unsettled(), AuditLedger(database)
        findings = []
        for each in unsettled[:_BATCHES_LOOKED_AT]:
            async with ledger.snapshot() as snapshot:
                batch = await snapshot.batch(each.batch_id, still_before_ms)
            findings += _of_batch(batch, each.lane, there, still_before_ms) if batch else []
    if len(unsettled) > _BATCHES_LOOKED_AT:
        only = (
            f"only the oldest {_BATCHES_LOOKED_AT} of {len(unsettled)} unfinished batches were held against the queues"
        )
        findings.append(hint(only, "smsctl audit looks at all"))
    return findings


def _of_batch(batch: AuditedBatch, lane: str, there: Mapping[str, Counts], still_before_ms: int) -> list[Finding]:
    return [
        Finding(
            f"batch {batch.batch_id}: {count(batch.rows[state].still, 'number')} {state} for long, and no message of"
            " theirs waits in the queues",
            f"is a dispatcher running? then: smsctl audit {batch.batch_id}",
        )
        for state in standing_still(batch, still_before_ms)
        if not held_up_by(state, lane, there)
    ]
