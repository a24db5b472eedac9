"""A batch's counters, changed in the same transaction as its rows."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.tables import counter
from shared.states import LIVE_STATES, State

Changes = Counter[tuple[str, State]]
"""By batch id and state: how many numbers came into the state (positive) or left it (negative)."""

_LIVE_AFTER = " + ".join(f"{counter(state)} + :{counter(state)}" for state in State if state in LIVE_STATES)
_COUNT = text(
    f"""
    UPDATE batches SET {", ".join(f"{counter(state)} = {counter(state)} + :{counter(state)}" for state in State)},
        state = CASE WHEN state = 'cancelled' THEN state
                     WHEN {_LIVE_AFTER} = 0 THEN 'finished'
                     WHEN state IN ('scheduled', 'paused') THEN state ELSE 'running' END,
        finished_at_ms = CASE WHEN {_LIVE_AFTER} > 0 THEN NULL
                              ELSE COALESCE(finished_at_ms, CAST(:now_ms AS bigint)) END
    WHERE id = :batch_id
    """  # noqa: S608 - made of our own column names
)


async def count(connection: AsyncConnection, changes: Changes, now_ms: int) -> None:
    """Apply the changes; a batch with no live number left is finished, also a paused one, for nothing is left to be
    resumed; one that has some again is running. A cancelled batch stays cancelled.
    """
    deltas = by_batch(changes)
    if deltas:
        # In id order, as everywhere: two transactions that want the same batches then never wait for each other.
        await connection.execute(
            _COUNT,
            [{"batch_id": batch_id, "now_ms": now_ms, **deltas[batch_id]} for batch_id in sorted(deltas)],
        )


def by_batch(changes: Changes) -> Mapping[str, dict[str, int]]:
    """The changes as a delta for every counter column of each batch."""
    deltas: dict[str, dict[str, int]] = {}
    for (batch_id, state), change in changes.items():
        deltas.setdefault(batch_id, dict.fromkeys((counter(state) for state in State), 0))[counter(state)] += change
    return deltas
