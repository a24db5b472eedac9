"""The sender's side of the ledger: claiming rows and recording what came of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.message import Key, MessageRow, is_claimable, is_sendable
from shared.domain.outcome import Outcome, keep_if_maybe_sent
from shared.domain.routing import ANY_PROVIDER
from shared.domain.states import BatchState, State
from shared.ledger.bulk_params import KEYS, as_rows, single_statement, with_rows
from shared.ledger.database import Database
from shared.ledger.fuse import NEVER, Blown, Fuse, burn
from shared.ledger.receipts import ProviderId, ReceiptsLedger
from shared.ledger.sending_sql import CLAIM_STATEMENT, LOOK, LOOK_AND_LOCK, SENT_STATEMENT
from shared.ledger.suppressions import EVERY_SENDER
from shared.ledger.transitions import Transition, moving

# A look-up is cheaper than an enumeration's call.
_STATES = {state.value: state for state in State}
_BATCH_STATES = {state.value: state for state in BatchState}

_ATTEMPTS = {**KEYS, "attempt": "integer"}
_SENT = {**KEYS, "attempt": "integer", "provider_status": "smallint", "provider_message_id": "text"}
_OUTCOME = {"error_code": "text", "error_reason": "text", "retry_at_ms": "bigint", "was_unclear": "boolean"}
_ANSWER = {"provider_status": "smallint", "provider_message_id": "text", "uncounted": "integer"}
_SET_OUTCOME = {
    "error_code": "w.error_code",
    "error_reason": "w.error_reason",
    "retry_at_ms": "w.retry_at_ms",
    "was_unclear": "messages.was_unclear OR w.was_unclear",
}
_SET_ANSWER = {
    "provider_status": "w.provider_status",
    "provider_message_id": "w.provider_message_id",
    "uncounted": "messages.uncounted + w.uncounted",
}
_SET_CLAIM = {
    "attempt": "messages.attempt + 1",
    "claimed_at_ms": ":now_ms",
    "claimed_by": ":token",
    "first_at_ms": "COALESCE(messages.first_at_ms, :now_ms)",
    "provider": "NULLIF(:provider, (SELECT b.provider FROM batches b WHERE b.id = messages.batch_id))",
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a claim came to: the rows that are ours to send (this attempt counted), and the others as they are."""

    ours: Mapping[Key, MessageRow]
    others: Mapping[Key, MessageRow]


class Recorded(NamedTuple):
    """One attempt's outcome, to be written."""

    batch_id: str
    row: int
    attempt: int
    outcome: Outcome

    @property
    def key(self) -> Key:
        return self.batch_id, self.row


class SendingLedger:
    """Claims and records, each one short transaction for a micro-batch, or one statement of PostgreSQL.

    There, a record of numbers of which some did not go well is two. `provider` is the one that claims are for.
    """

    def __init__(
        self,
        database: Database,
        provider: str = ANY_PROVIDER,
        fuse: Fuse = NEVER,
        ids: ReceiptsLedger | None = None,
        sender_name: str = EVERY_SENDER,
    ) -> None:
        """`ids` remembers whose texts the provider's ids are, where its receipts tell nothing else. `sender_name` is
        the provider's, which recipients opt out from."""
        self._database, self._provider, self._fuse, self._ids = database, provider, fuse, ids
        self._sender_name = sender_name
        sqlite = database.is_sqlite
        self._look = with_rows(LOOK if sqlite else LOOK_AND_LOCK, KEYS, sqlite=sqlite)
        self._claim = Transition({}, _SET_CLAIM, sqlite=sqlite)
        self._claim_statement = single_statement(
            CLAIM_STATEMENT, "rows", "token", "now_ms", "provider", "sender_name", columns=_ATTEMPTS
        )
        self._sent_statement = single_statement(SENT_STATEMENT, "rows", "now_ms", columns=_SENT)
        # What was held as unclear was kept, and has to be kept as what it turned out to be.
        keeps = (State.SENDING, State.UNKNOWN)
        self._record = Transition({**_OUTCOME, **_ANSWER}, {**_SET_OUTCOME, **_SET_ANSWER}, sqlite=sqlite, keeps=keeps)
        self._move = Transition(_OUTCOME, _SET_OUTCOME, sqlite=sqlite)

    async def claim(self, attempts: Mapping[Key, int], token: str, now_ms: int) -> Claims:
        """Claim each row whose `attempt` still is the one given, and which can be sent.

        The attempt is a fencing token: of two copies of one message only the first finds it unchanged. A row that does
        not exist is in neither of the result's parts. `token` is of this claim alone: calling again with it, after a
        commit whose answer was lost, gives the same rows.
        """
        claim = self._claim_in_steps if self._database.is_sqlite else self._claim_in_one
        rows, free = await claim(attempts, token, now_ms)
        ours = {row.key: row.claimed(token, now_ms, self._provider) for row in free}
        ours |= {row.key: row for row in rows if row.claimed_by == token and row.state is State.SENDING}
        return Claims(ours, {row.key: row for row in rows if row.key not in ours})

    async def _claim_in_steps(
        self, attempts: Mapping[Key, int], token: str, now_ms: int
    ) -> tuple[Sequence[MessageRow], Sequence[MessageRow]]:
        """The rows as they were, and those of them that are claimed now."""
        async with moving(self._database, now_ms) as transaction:
            rows = await self._looked_at(transaction.connection, attempts)
            free = [row for row in rows if is_claimable(row, attempts[row.key], self._provider)]
            wanted = [(*row.key, row.attempt, row.state, State.SENDING) for row in free]
            await transaction.apply(self._claim, wanted, {"token": token, "provider": self._provider})
        return rows, free

    async def _claim_in_one(
        self, attempts: Mapping[Key, int], token: str, now_ms: int
    ) -> tuple[Sequence[MessageRow], Sequence[MessageRow]]:
        """The same in one statement of PostgreSQL."""
        wanted = as_rows([(*key, attempts[key]) for key in sorted(attempts)], _ATTEMPTS)
        values = wanted, token, now_ms, self._provider, self._sender_name
        found = await self._database.run(self._claim_statement, *values)
        rows = [(_row(values), is_free) for *values, is_free in found]
        return [row for row, _is_free in rows], [row for row, is_free in rows if is_free]

    async def record(self, outcomes: Sequence[Recorded], now_ms: int) -> Sequence[Blown]:
        """Write what came of the attempts. An outcome whose attempt is not the row's latest changes nothing.

        The batches that have paused themselves by it.
        """
        if self._ids is not None:
            await self._ids.note_ids(self._provider, _told_ids(outcomes))
        if not self._database.is_sqlite:
            outcomes = await self._record_sent(outcomes, now_ms)
            if not outcomes:
                return []
        async with moving(self._database, now_ms) as transaction:
            ended: list[tuple[Key, Outcome]] = []
            # The second pass is for rows whose lease ran out meanwhile, so that somebody held them as unclear.
            for before in (State.SENDING, State.UNKNOWN):
                rows = (_moved_by(item, before) for item in outcomes)
                written = await transaction.apply(self._record, rows)
                ended += [(item.key, item.outcome) for item in outcomes if item.key in written]
                outcomes = [item for item in outcomes if item.key not in written]
            await transaction.finish()
            return await burn(transaction.connection, self._fuse, ended)

    async def _record_sent(self, outcomes: Sequence[Recorded], now_ms: int) -> Sequence[Recorded]:
        """Write those that went well in one statement of PostgreSQL; what is left to write."""
        sent = [_sent_values(item) for item in outcomes if item.outcome.state is State.SENT]
        if not sent:
            return outcomes
        found = await self._database.run(self._sent_statement, as_rows(sent, _SENT), now_ms)
        written = {(batch_id, row) for batch_id, row in found}
        return [item for item in outcomes if (item.batch_id, item.row) not in written]

    async def move(self, rows: Sequence[tuple[MessageRow, Outcome]], now_ms: int) -> set[Key]:
        """Put rows into another state, each only if it still stands as it was read; the keys of those that did."""
        async with moving(self._database, now_ms) as transaction:
            return set(await transaction.apply(self._move, (_moved(row, outcome) for row, outcome in rows)))

    async def record_without_call(self, attempts: Mapping[Key, int], outcome: Outcome, now_ms: int) -> Claims:
        """Give the rows that these messages could send this outcome, without a call; `ours` are those as they then are.

        No attempt is counted. Rows that are in the outcome's state already are not moved.
        """
        async with moving(self._database, now_ms) as transaction:
            rows = {row.key: row for row in await self._looked_at(transaction.connection, attempts)}
            free = [
                (row, keep_if_maybe_sent(outcome, was_unclear=row.was_unclear))
                for row in rows.values()
                if is_sendable(row, attempts[row.key]) and row.state is not outcome.state
            ]
            await transaction.apply(self._move, (_moved(row, outcome) for row, outcome in free))
        ours = {row.key: row.after(outcome) for row, outcome in free}
        return Claims(ours, {key: row for key, row in rows.items() if key not in ours})

    async def _looked_at(self, connection: AsyncConnection, keys: Iterable[Key]) -> Sequence[MessageRow]:
        values = {"rows": as_rows(sorted(keys), KEYS), "sender_name": self._sender_name}
        return [_row(record) for record in await connection.execute(self._look, values)]


def _row(record: Any) -> MessageRow:
    batch_id, row, state, *others, was_unclear, batch_state, provider, pin, on_unknown, expires_at_ms = record[:-6]
    is_resent, uncounted, is_tied, *rest, is_suppressed = record[-6:]
    return MessageRow._make((
        batch_id, row, _STATES[state], *others,
        bool(was_unclear), _BATCH_STATES[batch_state], provider, pin, on_unknown == "resend", expires_at_ms,
        bool(is_resent), uncounted, bool(is_tied), *rest, bool(is_suppressed),
    ))  # fmt: skip


def _told_ids(outcomes: Sequence[Recorded]) -> Sequence[ProviderId]:
    return [
        ProviderId(item.outcome.provider_message_id, item.batch_id, item.row, item.attempt)
        for item in outcomes
        if item.outcome.provider_message_id is not None
    ]


def _sent_values(item: Recorded) -> tuple[Any, ...]:
    outcome = item.outcome
    return item.batch_id, item.row, item.attempt, outcome.provider_status, outcome.provider_message_id


def _moved_by(item: Recorded, before: State) -> tuple[Any, ...]:
    outcome = item.outcome
    return (
        item.batch_id, item.row, item.attempt, before, outcome.state, *_values(outcome),
        outcome.provider_status, outcome.provider_message_id, int(outcome.uncounted),
    )  # fmt: skip


def _moved(row: MessageRow, outcome: Outcome) -> tuple[Any, ...]:
    return row.batch_id, row.row, row.attempt, row.state, outcome.state, *_values(outcome)


def _values(outcome: Outcome) -> tuple[Any, ...]:
    return outcome.code, outcome.reason, outcome.retry_at_ms, outcome.unclear
