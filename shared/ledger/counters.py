"""A batch's counters, changed in the same transaction as its rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.states import LIVE_STATES, State
from shared.ledger.tables import counter

Changes = Counter[tuple[str, State]]
"""By batch id and state: how many numbers came into the state (positive) or left it (negative)."""


def _after(delta: Callable[[str], str]) -> str:
    """The assignments that bring a batch up to date; `delta` names the change of a counter."""
    columns = {state: counter(state) for state in State}
    counted = ", ".join(f"{column} = batches.{column} + {delta(column)}" for column in columns.values())
    live = " + ".join(f"batches.{columns[state]} + {delta(columns[state])}" for state in State if state in LIVE_STATES)
    return f"""
        {counted},
        state = CASE WHEN batches.state = 'cancelled' THEN batches.state
                     WHEN {live} = 0 THEN 'finished'
                     WHEN batches.state IN ('scheduled', 'paused') THEN batches.state ELSE 'running' END,
        finished_at_ms = CASE WHEN {live} > 0 THEN NULL
                              ELSE COALESCE(batches.finished_at_ms, CAST(:now_ms AS bigint)) END
    """


_COUNT = text(f"UPDATE batches SET {_after(lambda column: f':{column}')} WHERE id = :batch_id")  # noqa: S608 - our own

COUNTED = f"""
    changes AS (
        SELECT batch_id, {
    ", ".join(
        f"COUNT(*) FILTER (WHERE after = '{state}') - COUNT(*) FILTER (WHERE before = '{state}') AS {counter(state)}"
        for state in State
    )
}
        FROM moves GROUP BY batch_id ORDER BY batch_id
    ), counted AS (
        UPDATE batches SET {_after(lambda column: f"changes.{column}")}
        FROM changes WHERE batches.id = changes.batch_id
    )
"""  # noqa: S608 - made of our own column names
"""For PostgreSQL: `count` as a part of the statement that moves the rows, behind a query `moves` with the columns
batch_id, before and after (states). The batch's row, which all senders of a batch want, is then locked for one commit
only, and not until a busy process gets round to it.

The batch's row is not locked by a query of its own first: while one statement locks and then updates a row that others
have changed since it began, another can wait for the new version and hold the place in the old one's queue that the
update needs. The changes come in id order, and the join by key (`_PLANS_BY_KEY` of the connection) keeps it."""


def moved(moves: Iterable[tuple[str, State, State]], messages: int = 1) -> Changes:
    """The changes by moves (batch id, state before, state after), of so many messages each."""
    changes: Changes = Counter()
    for batch_id, before, after in moves:
        changes[batch_id, before] -= messages
        changes[batch_id, after] += messages
    return changes


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
