"""The queues beside the ledger: how deep they are, and the dead letters in them."""

from collections.abc import Mapping
from typing import NamedTuple

from shared.domain.states import State
from shared.topology import (
    BATCHES,
    DEAD_LETTER,
    DEAD_LETTER_BATCHES_QUEUE,
    INBOUND_QUEUE,
    OUTBOUND,
    RECEIPTS,
    RECEIPTS_LATER_QUEUE,
    RETRY,
    UNKNOWN_QUEUE,
    UNMATCHED_QUEUE,
    Topology,
)
from tools.ctl.auditing.audit import LookedAt
from tools.ctl.auditing.findings import Finding
from tools.ctl.auditing.letters import LETTER_QUEUES, AuditedLetters
from tools.ctl.dead_letters.reading import depths, look_at

_BESIDE = {OUTBOUND: State.QUEUED, RETRY: State.RETRYING, DEAD_LETTER: State.FAILED, UNKNOWN_QUEUE: State.UNKNOWN}

_OF_NO_NUMBER = frozenset(
    {BATCHES, DEAD_LETTER_BATCHES_QUEUE, RECEIPTS, RECEIPTS_LATER_QUEUE, UNMATCHED_QUEUE, INBOUND_QUEUE}
)


class Depth(NamedTuple):
    """A queue's ready messages (None: it is not there), and how many numbers the ledger has in the state they are in.

    The two differ while something is under way: a message in a sender's hands is not ready.
    """

    queue: str
    ready: int | None
    state: State | None
    numbers: int | None


def look_at_queues(urls: str, topology: Topology, most_letters: int) -> tuple[dict[str, int | None], LookedAt]:
    """The depth of every queue, and then the letters in the queues of dead letters, which stay there."""
    found = depths(urls, [queue.name for queue in topology.queues])
    of_numbers = {state: _letters(urls, queue, most_letters) for state, queue in LETTER_QUEUES.items()}
    return found, LookedAt(of_numbers, _letters(urls, DEAD_LETTER_BATCHES_QUEUE, most_letters))


def beside(found: Mapping[str, int | None], totals: Mapping[State, int]) -> list[Depth]:
    """The queues with the ledger's numbers; of several queues of one state the first has them."""
    lines: list[Depth] = []
    seen: set[State] = set()
    for queue, ready in found.items():
        state = _state(queue)
        numbers = None if state is None or state in seen else totals[state]
        lines.append(Depth(queue, ready, state, numbers))
        if state is not None:
            seen.add(state)
    return lines


def missing_queues(found: Mapping[str, int | None]) -> list[Finding]:
    """The queues that are not there."""
    return [Finding(queue, "the queue is missing (smsctl topology)") for queue, ready in found.items() if ready is None]


def _letters(urls: str, queue: str, most: int) -> AuditedLetters:
    letters = AuditedLetters(queue)
    letters.is_complete = look_at(urls, queue, most, letters.add)
    return letters


def _state(queue: str) -> State | None:
    if queue in _OF_NO_NUMBER:
        return None
    exact = _BESIDE.get(queue)
    return exact or next(state for name, state in _BESIDE.items() if queue.startswith(f"{name}."))
