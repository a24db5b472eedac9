"""A batch's rows held against the calls that the provider saw; pure."""

from collections.abc import Iterable, Iterator

from shared.domain.states import ACCEPTED, State
from shared.ledger.auditing import AuditedRow
from tools.ctl.auditing.findings import RowFindings

Calls = dict[int, int]
"""Calls by row."""

_NEVER_CALLED = frozenset({State.INVALID, State.DUPLICATE})
_NOT_SENT = frozenset({State.FAILED, State.EXPIRED, State.CANCELLED, State.SUPPRESSED})


class ProviderCheck:
    """Holds pages of one batch's rows against the calls; asked for `strangers` when all pages have been seen.

    `may_resend`: the batch asked for a second try after an unclear one, so its texts may have gone out twice.
    """

    def __init__(self, findings: RowFindings, calls: Calls, accepted: Calls, *, may_resend: bool) -> None:
        self._findings, self._may_resend = findings, may_resend
        self._calls, self._accepted = calls, accepted
        self._without_row = set(calls)

    def look(self, rows: Iterable[AuditedRow]) -> None:
        """Compare a page of rows."""
        for row in rows:
            self._without_row.discard(row.row)
            for what in self._contradictions(row):
                self._findings.add(what, row.row)

    def strangers(self) -> None:
        """Count the calls for rows that no page had."""
        for row in sorted(self._without_row):
            self._findings.add("the provider was called, and there is no such row", row)

    def _contradictions(self, row: AuditedRow) -> Iterator[str]:
        calls, accepted = self._calls.get(row.row, 0), self._accepted.get(row.row, 0)
        if row.state in ACCEPTED and not accepted and row.decision != "sent":
            yield f"{row.state}, and the provider accepted no call"
        if calls and (row.attempt == 0 or row.state in _NEVER_CALLED):
            yield f"{row.state}, which never comes to a call, and the provider was called"
        elif calls > row.attempt:
            yield "the provider was called more often than the ledger has attempts"
        if accepted and row.state in _NOT_SENT and row.decision != "failed":
            yield f"{row.state}, and the provider accepted it"
        if accepted > 1 and not self._explained(row):
            yield "the provider accepted it more than once, and the ledger does not say why"

    def _explained(self, row: AuditedRow) -> bool:
        return self._may_resend or row.was_unclear or row.decision == "resend"


def knows_nothing(calls: Calls, sent: int) -> bool:
    """Whether the provider has forgotten the batch, as the simulator does when it restarts."""
    return not calls and sent > 0
