"""How rows come from one state to another: guarded, counted, and with the attempts kept that did not succeed.

Everything goes this way but what is a statement of its own: the fast paths of PostgreSQL (`*_STATEMENT`), and what
moves all rows of a batch that are in one state.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.message import Key
from shared.domain.states import State
from shared.ledger.attempts import keep_attempts
from shared.ledger.bulk_params import KEYS, as_rows, with_rows
from shared.ledger.counters import Changes, count, moved
from shared.ledger.database import Database

_STATES = {state.value: state for state in State}
_COLUMNS = {**KEYS, "attempt": "integer", "from_state": "text", "state": "text"}
_UPDATE = """
    UPDATE messages SET state = w.state, updated_at_ms = :now_ms{sets}
    FROM {{rows}}
    WHERE messages.batch_id = w.batch_id AND messages.row_no = w.row_no AND messages.attempt = w.attempt
      AND messages.state = w.from_state AND messages.resent_in IS NULL{guard}
    RETURNING messages.batch_id, messages.row_no, messages.state
"""


class Transition:
    """An update of rows, each only where it still stands at the attempt and in the state that it was read in.

    Rows are tuples of batch id, row, attempt, state before, state after, and the values of `columns` (name: PostgreSQL
    type), which `sets` and `guard` find in `w`. Of what comes out of the states in `keeps`, the attempt is kept.
    """

    def __init__(
        self,
        columns: Mapping[str, str],
        sets: Mapping[str, str],
        *,
        sqlite: bool,
        guard: str = "",
        keeps: Iterable[State] = (State.SENDING,),
    ) -> None:
        self.columns, self.keeps = {**_COLUMNS, **columns}, frozenset(keeps)
        assignments = "".join(f", {column} = {value}" for column, value in sets.items())
        statement = _UPDATE.format(sets=assignments, guard=f" AND {guard}" if guard else "")
        self.statement = with_rows(statement, self.columns, sqlite=sqlite)


class Moving:
    """One transaction in which rows change their states; at its end their attempts are kept, and the batches' counters
    follow: rows first, in the order of their keys, then batches, as everybody locks them."""

    def __init__(self, connection: AsyncConnection, now_ms: int, *, sqlite: bool) -> None:
        self.connection, self.now_ms = connection, now_ms
        self._sqlite = sqlite
        self._changes: Changes = Counter()
        self._ended: set[Key] = set()

    async def apply(
        self, transition: Transition, rows: Iterable[Sequence[Any]], values: Mapping[str, object] | None = None
    ) -> dict[Key, State]:
        """Move rows; those that moved, and where to. `values` are parameters of what the transition sets."""
        ordered = sorted(rows, key=_key)
        if not ordered:
            return {}
        wanted = {"rows": as_rows(ordered, transition.columns), "now_ms": self.now_ms, **(values or {})}
        found = await self.connection.execute(transition.statement, wanted)
        after = {(str(batch_id), row): _STATES[state] for batch_id, row, state in found}
        before = {_key(row): State(row[3]) for row in ordered}
        self.count((key[0], before[key], state) for key, state in after.items())
        self._ended |= {key for key, state in after.items() if _is_kept(before[key], state, transition.keeps)}
        return after

    def count(self, moves: Iterable[tuple[str, State, State]], messages: int = 1) -> None:
        """Count what another statement moved: batch id, state before, state after, each so many rows."""
        if messages:
            self._changes.update(moved(moves, messages))

    async def finish(self) -> None:
        """Keep the attempts, and bring the counters up to date, which locks the batches."""
        await keep_attempts(self.connection, self._ended, self.now_ms, sqlite=self._sqlite)
        await count(self.connection, self._changes, self.now_ms)
        self._ended.clear()
        self._changes.clear()


@asynccontextmanager
async def moving(database: Database, now_ms: int) -> AsyncIterator[Moving]:
    """A transaction for transitions, committed at the end of the block as a whole or not at all."""
    async with database.writing() as connection:
        transaction = Moving(connection, now_ms, sqlite=database.is_sqlite)
        yield transaction
        await transaction.finish()


def _key(row: Sequence[Any]) -> Key:
    return row[0], row[1]


def _is_kept(before: State, after: State, keeps: frozenset[State]) -> bool:
    """What goes well is told by the row itself, unless it was kept before as something else."""
    return before in keeps and not (before is State.SENDING and after is State.SENT)
