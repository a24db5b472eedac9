"""The one invariant of every fault: ledger against provider against queues."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.support.processes import eventually
from tests.support.trio import FINAL, Trio

_QUIET_S = 60
_TAKEN = {"sent", "delivered", "undelivered"}
_MAY_BE_CALLED = _TAKEN | {"failed", "unknown", "expired", "cancelled"}  # cancelled: while it waited for another try


@dataclass(slots=True)
class Tally:
    """What became of all recipients of one run."""

    recipients: int = 0
    lost: int = 0
    sent_twice: int = 0
    unknown: int = 0
    flaws: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count another tally in."""
        self.recipients += other.recipients
        self.lost += other.lost
        self.sent_twice += other.sent_twice
        self.unknown += other.unknown
        self.flaws += other.flaws


def tally(trio: Trio, batch_ids: Sequence[str], *, may_repeat: bool = False) -> Tally:
    """Count over batches that should be finished; what is not final counts as lost.

    `may_repeat`: the ledger says why a text may have gone out twice (`on_unknown`).
    """
    result = Tally()
    for batch_id in batch_ids:
        _count_batch(trio, batch_id, result, may_repeat=may_repeat)
    _count_letters(trio, batch_ids, result)
    return result


def _count_batch(trio: Trio, batch_id: str, result: Tally, *, may_repeat: bool) -> None:
    batch, rows = trio.batch(batch_id), trio.messages(batch_id)
    calls, accepted = trio.provider_calls(batch_id), trio.provider_accepted(batch_id)
    states = {f"{batch_id}:{row['row']}": row["state"] for row in rows}
    attempts = {f"{batch_id}:{row['row']}": row["attempts"] for row in rows}
    given = trio.posted.get(batch_id, batch["recipients"] or 0)
    result.recipients += given
    result.unknown += sum(state == "unknown" for state in states.values())
    counts = {state: number for state, number in batch["counts"].items() if number}
    if counts != Counter(states.values()):
        result.flaws.append(f"{batch_id}: counters {counts}, rows {Counter(states.values())}")
    # Lost: no row, not final, or "sent" (or what a receipt made of it) although the provider never took it.
    lost = given - len(states)
    lost += sum(state not in FINAL for state in states.values())
    lost += sum(state in _TAKEN and reference not in accepted for reference, state in states.items())
    result.lost += lost
    if not may_repeat:
        result.sent_twice += sum(number > 1 for number in accepted.values())
    never = [reference for reference in calls if states.get(reference) not in _MAY_BE_CALLED]
    if never:
        result.flaws.append(f"{batch_id}: {len(never)} called although the ledger says never, such as {never[0]}")
    denied = [reference for reference in accepted if states.get(reference) in ("failed", "expired", "cancelled")]
    if denied and not may_repeat:
        result.flaws.append(f"{batch_id}: {len(denied)} accepted, recorded as not sent, such as {denied[0]}")
    unrecorded = [reference for reference, number in calls.items() if number > attempts.get(reference, 0)]
    if unrecorded:
        result.flaws.append(f"{batch_id}: {len(unrecorded)} called more often than recorded, such as {unrecorded[0]}")
    cancelled = {f"{batch_id}:{row['row']}": row["updated_at"] for row in rows if row["state"] == "cancelled"}
    if cancelled.keys() & calls.keys():
        late = [call["reference"] for call in trio.provider_texts(batch_id) if _is_late(call, cancelled)]
        if late:
            result.flaws.append(f"{batch_id}: {len(late)} called after they were cancelled, such as {late[0]}")


def _is_late(call: dict[str, Any], cancelled: dict[str, str]) -> bool:
    at = cancelled.get(call["reference"])
    return at is not None and datetime.fromisoformat(call["at"]) > datetime.fromisoformat(at)


def _count_letters(trio: Trio, batch_ids: Sequence[str], result: Tally) -> None:
    """Every failed and every unclear number has its letter, and nothing is left in the queues of work."""

    def left() -> list[str]:
        return [queue for queue, depth in trio.depths().items() if depth and queue.startswith(("sms.out", "sms.retry"))]

    try:
        eventually(lambda: not left(), _QUIET_S, 0.5)
    except AssertionError:
        result.flaws.append(f"messages left in {left()}")
    for state, queue in (("failed", "sms.dead-letter"), ("unknown", "sms.unknown")):
        lettered = trio.letters(queue)
        wanted = {f"{batch_id}:{row['row']}" for batch_id in batch_ids for row in trio.messages(batch_id, state=state)}
        if missing := wanted - lettered:
            result.flaws.append(f"{len(missing)} {state} without a letter in {queue}, such as {min(missing)}")
