"""The one clock that leases are judged by, and whether this machine's differs from it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import DBAPIError

from shared.clock import Reading, follow, read_machine, uptime_ns
from shared.errors import LedgerUnavailable, SmsBatchError
from shared.ledger.database import Database

_EVERY_S = 2.0
_TIMEOUT_S = 5.0
_SETTLED_AFTER_S = 5.0
"""On top of the lease: until all processes have seen a jump, and each one's calls have ended."""
_S = 1_000_000_000
_MOST_NS = 5 * _S
_STEP_NS = _S // 5
"""How far the time may be corrected between two looks: leases, which margins of seconds guard, hardly feel it."""

_DIFFERENCE = Gauge(
    "sms_clock_difference_seconds",
    "How far this machine's clock, or a ledger's that jumped, is ahead of the ledger's time",
)

log = structlog.get_logger()


@dataclass(slots=True)
class LedgerTime:
    """The ledger's time as a process keeps it: where its uptime began, by the ledger's clock.

    Small corrections are followed slowly. A jump of the ledger's clock is followed when it has lasted `settled_ns`: a
    lease that was taken before the jump would end at once, in the middle of its call. Decides only, reads no clock.
    """

    settled_ns: int
    began_at_ns: int | None = None
    machine_ahead_ns: int = 0
    """This machine's clock beside the ledger's time."""
    jumped_ns: int = 0
    """The ledger's clock beside the ledger's time."""
    _seen_at_ns: int | None = None

    def look(self, at_ns: int, machine: Reading, ledger: Reading | None) -> None:
        """Take in what the clocks say, at an uptime; None where the ledger's could not be asked."""
        if ledger is not None:
            self._follow(at_ns, ledger)
        if self.began_at_ns is not None:
            self.machine_ahead_ns = machine.ahead_ns(self.began_at_ns)

    @property
    def difference_ns(self) -> int:
        """The larger of the two."""
        return max(self.machine_ahead_ns, self.jumped_ns, key=abs)

    @property
    def is_right(self) -> bool:
        """Whether both clocks agree with the time that is kept."""
        return self.began_at_ns is not None and abs(self.difference_ns) <= _MOST_NS

    def _follow(self, at_ns: int, ledger: Reading) -> None:
        if self.began_at_ns is None:
            self.began_at_ns = ledger.middle_ns
        ahead_ns = ledger.ahead_ns(self.began_at_ns)
        if abs(ahead_ns) <= _MOST_NS:
            self.began_at_ns += max(-_STEP_NS, min(ahead_ns, _STEP_NS))
            self._seen_at_ns = None
        elif self._seen_at_ns is None or abs(ahead_ns - self.jumped_ns) > _MOST_NS:
            self._seen_at_ns = at_ns
        elif at_ns - self._seen_at_ns >= self.settled_ns:
            self.began_at_ns, self._seen_at_ns, ahead_ns = ledger.middle_ns, None, 0
        self.jumped_ns = ahead_ns


class LedgerClock:
    """Keeps `now_ms` by the database's clock, or with SQLite by this machine's, and says when a clock is wrong.

    `went_wrong` is called when it has become wrong: work is to be given back then, and none taken until `right`.
    `longest_lease_s` is how long a claim or a lease may hold that this process judges.
    """

    def __init__(self, database: Database, longest_lease_s: float = 0) -> None:
        self._database = database
        self._time = LedgerTime(round((longest_lease_s + _SETTLED_AFTER_S) * _S))
        self._right = asyncio.Event()
        self._said: str | None = None
        self.went_wrong: Callable[[], None] = lambda: None

    @property
    def is_right(self) -> bool:
        """Whether work may be taken."""
        return self._right.is_set()

    async def right(self) -> None:
        """Wait until it is."""
        await self._right.wait()

    def before(self, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """The same work, begun when it is right."""

        async def begun_when_right() -> None:
            await self.right()
            await work()

        return begun_when_right

    def check(self) -> bool | str:
        """For `/readyz`: True, or what is wrong."""
        return True if self.is_right else self._what()

    async def run(self) -> None:
        """Look, and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """Ask the clocks; a ledger that cannot be asked changes nothing."""
        ledger = await self._read_ledger()
        self._time.look(uptime_ns(), read_machine(), ledger)
        if self._time.began_at_ns is None:
            return
        follow(self._time.began_at_ns)
        _DIFFERENCE.set(self._time.difference_ns / _S)
        self._tell()

    async def _read_ledger(self) -> Reading | None:
        if self._database.is_sqlite:
            return read_machine()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                before_ns = uptime_ns()
                ((clock_us,),) = await self._database.run(_CLOCK_US)
                return Reading.of(before_ns, 1000 * clock_us, uptime_ns())
        except (SmsBatchError, DBAPIError, TimeoutError) as error:
            # Whatever a broken ledger means to those who work with it, the clock waits, and the api lives without.
            if not isinstance(error, LedgerUnavailable | TimeoutError):
                log.error("clock_not_asked", reason=type(error).__name__)
            return None

    def _tell(self) -> None:
        if self._time.is_right:
            if self._said is not None:
                log.warning("clock_right_again")
                self._said = None
            self._right.set()
            return
        was_right = self._right.is_set()
        self._right.clear()
        whose = self._whose()
        if whose != self._said:
            log.error("clock_wrong", reason=self._what(), difference_s=round(self._time.difference_ns / _S, 1))
            self._said = whose
        if was_right:
            self.went_wrong()

    def _whose(self) -> str:
        machines = abs(self._time.jumped_ns) <= _MOST_NS or self._database.is_sqlite
        return "this machine's clock" if machines else "the database's clock"

    def _what(self) -> str:
        if self._time.began_at_ns is None:
            return "the database's clock has not been asked yet"
        difference_s = self._time.difference_ns / _S
        by = f"{abs(difference_s):.0f} s"
        if abs(self._time.jumped_ns) > _MOST_NS:
            way = "ahead" if difference_s > 0 else "back"
            return f"{self._whose()} jumped {by} {way}; it counts again when calls from before have ended"
        return f"{self._whose()} is {by} {'ahead of' if difference_s > 0 else 'behind'} the database's"


_CLOCK_US = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)"
