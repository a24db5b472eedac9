"""Refusals that say that a recipient has opted out: the number goes on the list, and no other provider is tried."""

from collections.abc import Iterable

from services.sender.stages import Done
from shared.clock import now_ms
from shared.domain.states import State
from shared.ledger.suppressions import Source, Suppression, SuppressionLedger
from shared.ledger.waiting import when_ledger_answers


class OptedOut:
    """Notes them for a provider whose `codes` these are; `sender_name` is whom its texts come from."""

    def __init__(self, ledger: SuppressionLedger, codes: frozenset[str], sender_name: str) -> None:
        self._ledger, self._codes, self._sender_name = ledger, codes, sender_name

    async def note(self, ended: Iterable[Done]) -> None:
        """Put those on the list whose recipients have opted out; returns when it is written."""
        found = [
            Suppression(one.claimed.row.recipient, self._sender_name, Source.PROVIDER, "by a refusal", now_ms())
            for one in ended
            if one.outcome.state is State.FAILED and one.outcome.code in self._codes
        ]
        if found:
            await when_ledger_answers(lambda: self._ledger.add(found))
