"""What a look at a live system asks of the ledger: its clock, its connection, and what has ended badly of late."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select, text

from shared.domain.states import LIVE_STATES, BatchState, State
from shared.ledger.database import Database
from shared.ledger.tables import batches, counter, messages

_BAD_ENDS = (State.FAILED, State.UNKNOWN)
_LIVE = sum((batches.c[counter(state)] for state in LIVE_STATES), start=batches.c.n_pending * 0)


@dataclass(frozen=True, slots=True)
class Ended:
    """How many numbers ended in a state for a reason."""

    state: State
    code: str | None
    number: int


class DiagnosisLedger:
    """Reads little, however big the ledger is; nothing is changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def clock_ms(self) -> int | None:
        """When it is by the database server's clock; None where the database has no clock of its own."""
        if self._database.is_sqlite:
            return None
        async with self._database.reading() as connection:
            return int((await connection.scalars(text("SELECT EXTRACT(EPOCH FROM clock_timestamp()) * 1000"))).one())

    async def is_encrypted(self) -> bool | None:
        """Whether the server has this connection under TLS; None where the database is no server."""
        if self._database.is_sqlite:
            return None
        query = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        async with self._database.reading() as connection:
            return bool((await connection.scalars(query)).one())

    async def is_read_only(self) -> bool:
        """Whether the database server takes no writes: it is a standby, or was told so."""
        if self._database.is_sqlite:
            return False
        async with self._database.reading() as connection:
            return bool(await connection.scalar(text("SHOW transaction_read_only")) == "on")

    async def ended_badly(self, since_ms: int) -> Sequence[Ended]:
        """The numbers that became failed or unknown since then, the most frequent reason first.

        Those that an operator has decided about are left out. Rows are read of batches only that were not over by then.
        """
        bad = sum((batches.c[counter(state)] for state in _BAD_ENDS), start=batches.c.n_failed * 0)
        number = func.count()
        query = (
            select(messages.c.state, messages.c.error_code, number)
            .join(batches, batches.c.id == messages.c.batch_id)
            .where(or_(batches.c.finished_at_ms.is_(None), batches.c.finished_at_ms >= since_ms), bad > 0)
            .where(messages.c.state.in_([state.value for state in _BAD_ENDS]), messages.c.updated_at_ms >= since_ms)
            .where(or_(messages.c.decision.is_(None), messages.c.decision == "resend"))
            .group_by(messages.c.state, messages.c.error_code)
            .order_by(number.desc(), messages.c.state)
        )
        async with self._database.reading() as connection:
            return [Ended(State(state), code, int(n)) for state, code, n in await connection.execute(query)]

    async def waiting_by_provider(self) -> dict[str, int]:
        """How many messages are not final, by the provider that they are for."""
        query = select(batches.c.provider, func.sum(_LIVE)).where(_LIVE > 0).group_by(batches.c.provider)
        async with self._database.reading() as connection:
            return {provider: int(number) for provider, number in await connection.execute(query)}

    async def has_work(self) -> bool:
        """Whether a running batch has messages that are not final: senders should be there."""
        running = batches.c.state == BatchState.RUNNING.value
        async with self._database.reading() as connection:
            return await connection.scalar(select(batches.c.id).where(running, _LIVE > 0).limit(1)) is not None

    async def given_up(self, since_ms: int) -> int:
        """How many batches ended since then because they could not be sent as a whole."""
        query = select(func.count()).where(batches.c.error_code.is_not(None), batches.c.finished_at_ms >= since_ms)
        async with self._database.reading() as connection:
            return int((await connection.scalars(query)).one())
