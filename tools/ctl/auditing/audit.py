"""The audit's course: each batch in a snapshot of the ledger, held against letters and calls."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from shared.domain.states import ACCEPTED, State
from shared.ledger.auditing import AuditedBatch, AuditLedger, AuditSnapshot
from shared.topology import DEAD_LETTER_TTL_MS
from tools.ctl.auditing.batches import (
    batch_findings,
    missing_rows,
    rows_missing,
    standing_still,
    unwritten_finding,
)
from tools.ctl.auditing.findings import KEPT_ROWS, Finding, RowFindings
from tools.ctl.auditing.letters import (
    AuditedLetters,
    batch_letter_findings,
    missing_letters,
    stale_letters,
)
from tools.ctl.auditing.provider import Calls, ProviderCheck, knows_nothing
from tools.ctl.auditing.simulator import Simulator
from tools.ctl.errors import CtlError

_PAGE = 500
_LETTER_CHUNK = 1000
_LETTER_GRACE_MS = 5000
"""A row is recorded before its letter is published: what ended a moment ago may have its letter on the way."""


@dataclass(frozen=True, slots=True)
class Times:
    """When the queues were looked at, and before when a number must have moved that is not final."""

    looked_at_ms: int
    still_before_ms: int


@dataclass(frozen=True, slots=True)
class LookedAt:
    """The dead letters that there were: of numbers by the state that they tell of, and of batches."""

    of_numbers: dict[State, AuditedLetters]
    of_batches: AuditedLetters


class Audit:
    """Holds batches against everything else that is known of them."""

    def __init__(self, ledger: AuditLedger, letters: LookedAt, simulator: Simulator | None, times: Times) -> None:
        self._ledger, self._letters, self._simulator, self._times = ledger, letters, simulator, times

    async def every_batch(self) -> AsyncIterator[list[Finding]]:
        """Each batch's findings, in the order of the ids; then those of letters whose batch is not there."""
        lettered = {batch_id for letters in self._all_letters for batch_id in letters.rows}
        after: str | None = None
        while page := await self._ledger.batch_ids(after, _PAGE):
            for batch_id in page:
                yield await self.batch(batch_id) or []
            lettered.difference_update(page)
            after = page[-1]
        for batch_id in sorted(lettered):
            yield await self.batch(batch_id) or [_without_batch(batch_id)]

    async def these(self, batch_ids: Sequence[str]) -> AsyncIterator[list[Finding]]:
        """Each of these batches' findings; CtlError where the ledger has no such batch."""
        for batch_id in batch_ids:
            findings = await self.batch(batch_id)
            if findings is None:
                raise CtlError(f"the ledger has no batch {batch_id}")
            yield findings

    async def batch(self, batch_id: str) -> list[Finding] | None:
        """One batch's findings; None where the ledger has no such batch.

        The calls are counted before the rows are read and the accepted ones after: an attempt is recorded before its
        call and `sent` behind it, so what goes on meanwhile is no discrepancy.
        """
        calls = await asyncio.to_thread(self._simulator.calls, batch_id) if self._simulator else {}
        async with self._ledger.snapshot() as snapshot:
            batch = await snapshot.batch(batch_id, self._times.still_before_ms)
            if batch is None:
                return None
            findings = batch_findings(batch) + unwritten_finding(batch, self._times.still_before_ms)
            findings += await self._missing(snapshot, batch)
            findings += await self._standing_still(snapshot, batch)
            findings += await self._without_letters(snapshot, batch)
            if self._simulator:
                findings += await _against_calls(snapshot, batch, calls, self._simulator)
        return findings

    def about_letters(self, *, of_some: bool) -> list[Finding]:
        """What is to be said of the queues of letters as a whole; only what matters for `of_some` batches.

        A letter that names neither a number nor a batch is of a message that nobody could read.
        """
        unnamed = [(letters.queue, letters.unnamed) for letters in self._all_letters if letters.unnamed]
        found = [Finding(queue, f"{number} letters name no number and no batch") for queue, number in unnamed]
        more = "holds more letters than were looked at, so missing ones are not looked for (--letters)"
        found = [] if of_some else found
        found += [Finding(letters.queue, more) for letters in self._all_letters if not letters.is_complete]
        return [replace(finding, is_note=True) for finding in found]

    @property
    def _all_letters(self) -> list[AuditedLetters]:
        return [*self._letters.of_numbers.values(), self._letters.of_batches]

    async def _missing(self, snapshot: AuditSnapshot, batch: AuditedBatch) -> list[Finding]:
        if not (missing := rows_missing(batch)):
            return []
        holes = await snapshot.holes(batch.batch_id, KEPT_ROWS)
        what = "rows that are said to be written are not there"
        return [Finding(batch.batch_id, what, missing, tuple(missing_rows(batch, holes)))]

    async def _standing_still(self, snapshot: AuditSnapshot, batch: AuditedBatch) -> list[Finding]:
        before_ms = self._times.still_before_ms
        findings = []
        for state in standing_still(batch, before_ms):
            rows = await snapshot.standing_still(batch.batch_id, state, before_ms, KEPT_ROWS)
            findings.append(
                Finding(batch.batch_id, f"{state} and standing still", batch.rows[state].still, tuple(rows))
            )
        return findings

    async def _without_letters(self, snapshot: AuditSnapshot, batch: AuditedBatch) -> list[Finding]:
        found = RowFindings(batch.batch_id)
        first_ms = self._times.looked_at_ms - DEAD_LETTER_TTL_MS
        last_ms = self._times.looked_at_ms - _LETTER_GRACE_MS
        for state, letters in self._letters.of_numbers.items():
            if state in batch.rows:
                async for page in snapshot.with_letter(batch.batch_id, state, first_ms, last_ms):
                    missing_letters(found, state, page, letters)
            there = sorted(letters.rows.get(batch.batch_id, ()))
            for start in range(0, len(there), _LETTER_CHUNK):
                chunk = there[start : start + _LETTER_CHUNK]
                stale_letters(found, state, chunk, await snapshot.among(batch.batch_id, chunk))
        return found.all() + batch_letter_findings(batch, self._letters.of_batches, range(first_ms, last_ms))


async def _against_calls(
    snapshot: AuditSnapshot, batch: AuditedBatch, calls: Calls, simulator: Simulator
) -> list[Finding]:
    sent = sum(batch.rows[state].number for state in ACCEPTED if state in batch.rows)
    if knows_nothing(calls, sent):
        return [Finding(batch.batch_id, "the simulator knows no call of it; was it restarted?", is_note=True)]
    accepted = await asyncio.to_thread(simulator.accepted, batch.batch_id)
    found = RowFindings(batch.batch_id)
    check = ProviderCheck(found, calls, accepted, may_resend=batch.may_resend)
    async for page in snapshot.rows(batch.batch_id):
        check.look(page)
    check.strangers()
    return found.all()


def _without_batch(batch_id: str) -> Finding:
    return Finding(batch_id, "there are dead letters of it, and the ledger has no such batch", is_note=True)
