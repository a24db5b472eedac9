"""A provider's gate: the rate of calls and the pauses that all senders keep together."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import text

from shared.clock import now_ms
from shared.domain.outcome import CallResult, Verdict
from shared.ledger.database import Database

_US = 1_000_000
_SQLITE = {"now_us": ":now_us", "greatest": "MAX"}
_POSTGRES = {"now_us": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)", "greatest": "GREATEST"}


class Cause(StrEnum):
    """Why a provider is held."""

    ACCOUNT = "account"  # it does not serve our account: credentials, balance, permission
    ASKED = "asked"  # it asked for a pause, by Retry-After
    UNTOLD = "untold"  # a sender of an earlier version knows

    @classmethod
    def of(cls, answer: CallResult) -> "Cause":
        """Why this answer has senders pause."""
        return cls.ACCOUNT if answer.verdict is Verdict.ACCOUNT else cls.ASKED


class Held(NamedTuple):
    """A pause that all senders keep, and the provider's words for it, without numbers and texts."""

    provider: str
    left_s: float
    until_ms: int
    """By the database's clock, as Unix time."""
    cause: Cause
    code: str | None
    reason: str | None
    status: int | None


class ProviderGates:
    """One row per provider. Waits are told as seconds from now, by one clock for all senders: the database's, or with
    SQLite the machine's.

    A pause and the rate know nothing of each other: whoever looks at the pause makes no calls, so a call that is
    reserved meanwhile is not put off beyond the pause, which may be lifted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        words = _SQLITE if database.is_sqlite else _POSTGRES
        self._reserve, self._hold, self._held, self._shorten = (
            text(statement.format(**words)) for statement in (_RESERVE, _HOLD, _HELD, _SHORTEN)
        )

    async def reserve(self, provider: str, calls: int, interval_s: float) -> float:
        """Reserve that many calls, `interval_s` apart from each other and from all others; how many seconds until the
        first may begin."""
        span_us = round(calls * interval_s * _US)
        async with self._database.writing() as connection:
            values = {"provider": provider, "span_us": span_us}
            found = await connection.execute(self._reserve, self._with_time(values))
            end_us, now_us = found.one()
        return max(0.0, (int(end_us) - span_us - int(now_us)) / _US)

    async def hold(self, provider: str, pause_s: float, answer: CallResult) -> None:
        """Have every sender pause because of this answer; a longer pause that holds already stays, with its words."""
        words = {"cause": Cause.of(answer).value, "code": answer.code, "reason": answer.reason, "status": answer.status}
        values: dict[str, object] = {"provider": provider, "pause_us": round(pause_s * _US), **words}
        async with self._database.writing() as connection:
            await connection.execute(self._hold, self._with_time(values))

    async def shorten(self, provider: str, longest_s: float) -> bool:
        """Let a pause end after this time at the latest, 0 for at once; whether a longer one was held."""
        values = {"provider": provider, "longest_us": round(longest_s * _US)}
        async with self._database.writing() as connection:
            return bool((await connection.execute(self._shorten, self._with_time(values))).rowcount)

    async def held(self) -> Sequence[Held]:
        """The pauses that hold now, by the provider's name."""
        async with self._database.reading() as connection:
            found = await connection.execute(self._held, self._with_time({}))
            return [_held(*row) for row in found]

    def _with_time(self, values: dict[str, object]) -> dict[str, object]:
        return {**values, "now_us": now_ms() * 1000} if self._database.is_sqlite else values


_RESERVE = """
    INSERT INTO provider_gates (provider, next_slot_us, held_until_us) VALUES (:provider, {now_us} + :span_us, 0)
    ON CONFLICT (provider) DO UPDATE
       SET next_slot_us = {greatest}(provider_gates.next_slot_us, {now_us}) + :span_us
    RETURNING next_slot_us, {now_us}
"""
# One reading of the clock for both columns: equal, they say that the words are of this pause.
_HOLD = """
    INSERT INTO provider_gates (provider, next_slot_us, held_until_us, told_until_us, cause, error_code, error_reason,
                                provider_status)
    SELECT :provider, 0, pause.until_us, pause.until_us, CAST(:cause AS text), CAST(:code AS text),
           CAST(:reason AS text), CAST(:status AS smallint)
    FROM (SELECT {now_us} + :pause_us AS until_us) AS pause WHERE true
    ON CONFLICT (provider) DO UPDATE
       SET held_until_us = excluded.held_until_us, told_until_us = excluded.told_until_us, cause = excluded.cause,
           error_code = excluded.error_code, error_reason = excluded.error_reason,
           provider_status = excluded.provider_status
     WHERE provider_gates.held_until_us < excluded.held_until_us
"""
_SHORTEN = """
    UPDATE provider_gates SET held_until_us = pause.until_us,
           told_until_us = CASE WHEN told_until_us = held_until_us THEN pause.until_us ELSE told_until_us END
    FROM (SELECT {now_us} + :longest_us AS until_us) AS pause
    WHERE provider = :provider AND held_until_us > pause.until_us
"""
_HELD = """
    SELECT provider, held_until_us, held_until_us - clock.now_us, told_until_us = held_until_us,
           cause, error_code, error_reason, provider_status
    FROM provider_gates, (SELECT {now_us} AS now_us) AS clock WHERE held_until_us > clock.now_us ORDER BY provider
"""


def _held(provider: str, until_us: int, left_us: int, is_told: bool, cause: str | None, *words: Any) -> Held:  # noqa: FBT001
    left_s, until_ms = left_us / _US, until_us // 1000
    if not is_told or cause is None:
        return Held(provider, left_s, until_ms, Cause.UNTOLD, None, None, None)
    return Held(provider, left_s, until_ms, Cause(cause), *words)
