"""Dead letters held against the rows that they are of; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shared.domain.states import LIVE_STATES, State
from shared.ledger.auditing import AuditedBatch, AuditedRow
from shared.topology import DEAD_LETTER, UNKNOWN_QUEUE
from tools.ctl.auditing.findings import Finding, RowFindings
from tools.ctl.targets import place_of

LETTER_QUEUES = {State.FAILED: DEAD_LETTER, State.UNKNOWN: UNKNOWN_QUEUE}
"""Where the letter of a number in a state is."""
_WITHOUT_LETTER = frozenset({"batch_message_lost"})  # there is no message that could be the letter


@dataclass
class AuditedLetters:
    """One queue's letters, by what they name. `is_complete` is false where there were more than were looked at."""

    queue: str
    is_complete: bool = True
    rows: dict[str, set[int]] = field(default_factory=dict)
    unnamed: int = 0

    def add(self, message_id: str | None) -> None:
        """Keep a number's letter, or a batch's (as row 0); of a message that names neither only the count is kept."""
        place = place_of(message_id or "")
        if place is None:
            self.unnamed += 1
        else:
            self.rows.setdefault(place.batch_id, set()).add(place.row or 0)


def missing_letters(findings: RowFindings, state: State, rows: Iterable[int], letters: AuditedLetters) -> None:
    """Note the rows that have no letter; nothing is known of it where the queue was not looked through."""
    if not letters.is_complete:
        return
    there = letters.rows.get(findings.batch_id, set())
    for row in rows:
        if row not in there:
            findings.add(f"{state}, and its letter is not in {letters.queue}", row, is_note=True)


def stale_letters(findings: RowFindings, state: State, lettered: Sequence[int], found: Iterable[AuditedRow]) -> None:
    """Note the letters of rows that are final otherwise, or not there at all."""
    queue = LETTER_QUEUES[state]
    without_row = set(lettered)
    for row in found:
        without_row.discard(row.row)
        if row.state is not state and row.state not in LIVE_STATES:
            findings.add(f"a letter in {queue}, and the number is {row.state}", row.row, is_note=True)
    for row_no in sorted(without_row):
        findings.add(f"a letter in {queue}, and there is no such row", row_no, is_note=True)


def batch_letter_findings(batch: AuditedBatch, letters: AuditedLetters, ended: range) -> list[Finding]:
    """What does not fit between a batch and the dead letters of batches; `ended` are the times (ms) when a batch that
    could not be sent must have ended for its letter to be there."""
    if batch.batch_id in letters.rows:
        what = f"a letter in {letters.queue}, and the batch was written: another under the same id, or sent again"
        return [] if batch.error_code else [Finding(batch.batch_id, what, is_note=True)]
    has_letter = batch.error_code is not None and batch.error_code not in _WITHOUT_LETTER
    if has_letter and letters.is_complete and batch.finished_at_ms in ended:
        return [
            Finding(batch.batch_id, f"it could not be sent, and its letter is not in {letters.queue}", is_note=True)
        ]
    return []
