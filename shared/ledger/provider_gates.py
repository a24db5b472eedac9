"""A provider's gate: the rate of calls and the pauses that all senders keep together."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import text

from shared.clock import now_ms
from shared.domain.outcome import CallResult, Verdict
from shared.ledger.database import Database

_US = 1_000_000
_SLOWED_ONCE_IN_S = 1.0
_CLIMBS_IN_S = 60.0
"""How long a pace takes from next to nothing to the whole rate."""
_PACES = {"climb_us": _CLIMBS_IN_S * _US, "once_us": round(_SLOWED_ONCE_IN_S * _US), "slowest": 1 / 8}
_SQLITE = {"now_us": ":now_us", "greatest": "MAX", "least": "MIN", **_PACES}
_POSTGRES = {
    "now_us": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)",
    "greatest": "GREATEST",
    "least": "LEAST",
    **_PACES,
}


class Cause(StrEnum):
    """Why a provider is held."""

    ACCOUNT = "account"  # it does not serve our account: credentials, balance, permission
    ASKED = "asked"  # it asked for a pause, by Retry-After
    DAILY = "daily"  # as much as may be sent in a day was sent
    PAUSED = "paused"  # an operator paused it: until it is resumed
    UNTOLD = "untold"  # a sender of an earlier version knows

    @classmethod
    def of(cls, answer: CallResult) -> "Cause":
        """Why this answer has senders pause."""
        return cls.ACCOUNT if answer.verdict is Verdict.ACCOUNT else cls.ASKED


class Held(NamedTuple):
    """A pause that all senders keep, and the provider's words for it, without numbers and texts."""

    provider: str
    left_s: float
    until_ms: int | None
    """By the database's clock, as Unix time; None for one without an end."""
    cause: Cause
    code: str | None
    reason: str | None
    status: int | None
    since_ms: int | None = None
    """By the same clock; known of an operator's pause only."""


class Standing(NamedTuple):
    """How a provider stands for all senders, and for the dispatchers, which choose among several."""

    held: Held | None
    """The pause that all senders keep."""
    avoided_s: float | None
    """Some sender could not reach it: until so many seconds from now it is avoided; from then on (0 or less) given a
    little, until a sender has reached it. None where nothing is known against it."""
    reason: str | None
    """Why it is avoided."""
    avoided_until_ms: int | None = None
    """The same by the database's clock, as Unix time."""
    pace: float = 1.0
    """The share of its rate at which it is called: less for a while after it found that too fast."""

    @property
    def is_stopped(self) -> bool:
        """Whether it is to be given nothing."""
        return self.held is not None or (self.avoided_s is not None and self.avoided_s > 0)

    @property
    def is_on_trial(self) -> bool:
        """Whether it is to be given a little, to see whether it works again."""
        return not self.is_stopped and self.avoided_s is not None


class Slot(NamedTuple):
    """When a call may be made, and when that was said; by the ledger's clock, as Unix time."""

    first_us: int
    now_us: int

    @property
    def wait_s(self) -> float:
        """From then on."""
        return max(0.0, (self.first_us - self.now_us) / _US)


class ProviderGates:
    """One row per provider. Waits are told as seconds from now, by one clock for all senders: the database's, or with
    SQLite the machine's.

    A pause and the rate know nothing of each other: whoever looks at the pause makes no calls, so a call that is
    reserved meanwhile is not put off beyond the pause, which may be lifted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        words = _SQLITE if database.is_sqlite else _POSTGRES
        self._reserve, self._slow, self._hold, self._standings, self._shorten, self._pause, self._avoid = (
            text(statement.format(**words))
            for statement in (_RESERVE, _SLOW, _HOLD, _STANDINGS, _SHORTEN, _PAUSE, _AVOID)
        )

    async def reserve(self, provider: str, calls: int, interval_s: float, soonest_s: float = 0.0) -> Slot:
        """Reserve that many calls, `interval_s` apart from each other and from all others; the slot of the first, which
        is `soonest_s` ahead at the least."""
        span_us = round(calls * interval_s * _US)
        async with self._database.writing() as connection:
            values = {"provider": provider, "span_us": span_us, "soonest_us": round(soonest_s * _US)}
            found = await connection.execute(self._reserve, self._with_time(values))
            end_us, now_us = found.one()
        return Slot(int(end_us) - span_us, int(now_us))

    async def slow(self, provider: str, pause_s: float) -> float | None:
        """Halve the pace of all senders, which climbs again after that pause; the share of the rate that it is then,
        None where it was halved less than a second ago."""
        values: dict[str, object] = {"provider": provider, "pause_us": round(pause_s * _US)}
        async with self._database.writing() as connection:
            slowed_to = (await connection.execute(self._slow, self._with_time(values))).scalar()
        return None if slowed_to is None else float(slowed_to)

    async def hold(self, provider: str, pause_s: float, answer: CallResult, cause: Cause | None = None) -> None:
        """Have every sender pause because of this answer, or for another cause; a longer pause that holds already
        stays, with its words."""
        words = {
            "cause": (cause or Cause.of(answer)).value,
            "code": answer.code,
            "reason": answer.reason,
            "status": answer.status,
        }
        values: dict[str, object] = {"provider": provider, "pause_us": round(pause_s * _US), **words}
        async with self._database.writing() as connection:
            await connection.execute(self._hold, self._with_time(values))

    async def shorten(self, provider: str, longest_s: float) -> bool:
        """Let a pause end after this time at the latest, 0 for at once; whether a longer one was held."""
        values = {"provider": provider, "longest_us": round(longest_s * _US)}
        async with self._database.writing() as connection:
            return bool((await connection.execute(self._shorten, self._with_time(values))).rowcount)

    async def pause(self, provider: str) -> bool:
        """Let nobody call it until it is resumed; whether it was not paused before."""
        async with self._database.writing() as connection:
            return bool((await connection.execute(self._pause, self._with_time({"provider": provider}))).rowcount)

    async def resume(self, provider: str) -> bool:
        """End every pause of it, and call it at its whole rate; whether it was otherwise."""
        async with self._database.writing() as connection:
            was_paused = (await connection.execute(_RESUME, {"provider": provider})).rowcount
        return await self.shorten(provider, 0) or bool(was_paused)

    async def avoid(self, provider: str, pause_s: float, reason: str | None) -> None:
        """Have dispatchers give it nothing for so long where there are others: a sender cannot reach it."""
        values = {"provider": provider, "pause_us": round(pause_s * _US), "reason": reason}
        async with self._database.writing() as connection:
            await connection.execute(self._avoid, self._with_time(values))

    async def reached(self, provider: str) -> None:
        """Take back that it is to be avoided."""
        async with self._database.writing() as connection:
            await connection.execute(_REACHED, {"provider": provider})

    async def standings(self) -> Mapping[str, Standing]:
        """How each provider stands that anything is known of."""
        async with self._database.reading() as connection:
            found = await connection.execute(self._standings, self._with_time({}))
            return {row.provider: _standing(*row) for row in found}

    async def held(self) -> Sequence[Held]:
        """The pauses that hold now, by the provider's name."""
        return [standing.held for standing in (await self.standings()).values() if standing.held is not None]

    def _with_time(self, values: dict[str, object]) -> dict[str, object]:
        return {**values, "now_us": now_ms() * 1000} if self._database.is_sqlite else values


_RESERVE = """
    INSERT INTO provider_gates (provider, next_slot_us, held_until_us)
    VALUES (:provider, {now_us} + :soonest_us + :span_us, 0)
    ON CONFLICT (provider) DO UPDATE
       SET next_slot_us = {greatest}(provider_gates.next_slot_us, {now_us} + :soonest_us) + :span_us
    RETURNING next_slot_us, {now_us}
"""
# The pace stays until the pause is over, and climbs from then on.
_SLOW = """
    INSERT INTO provider_gates (provider, next_slot_us, held_until_us, slowed_to, slowed_at_us, slowed_until_us)
    SELECT :provider, 0, 0, 0.5, clock.now_us, clock.now_us + :pause_us
    FROM (SELECT {now_us} AS now_us) AS clock WHERE true
    ON CONFLICT (provider) DO UPDATE
       SET slowed_to = {greatest}({slowest}, {least}(1.0, COALESCE(provider_gates.slowed_to + {greatest}(0,
               excluded.slowed_at_us - provider_gates.slowed_until_us) / {climb_us}, 1.0)) / 2),
           slowed_at_us = excluded.slowed_at_us,
           slowed_until_us = excluded.slowed_until_us
     WHERE provider_gates.slowed_at_us IS NULL OR provider_gates.slowed_at_us + {once_us} < excluded.slowed_at_us
    RETURNING slowed_to
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
_PAUSE = """
    INSERT INTO provider_gates (provider, next_slot_us, held_until_us, paused_at_us) VALUES (:provider, 0, 0, {now_us})
    ON CONFLICT (provider) DO UPDATE SET paused_at_us = excluded.paused_at_us
     WHERE provider_gates.paused_at_us IS NULL
"""
_RESUME = text("""
    UPDATE provider_gates SET paused_at_us = NULL, avoid_until_us = NULL, avoid_reason = NULL,
           slowed_to = NULL, slowed_at_us = NULL, slowed_until_us = NULL
    WHERE provider = :provider AND (paused_at_us IS NOT NULL OR avoid_until_us IS NOT NULL OR slowed_to IS NOT NULL)
""")
# What any sender says last holds: one that reaches it has it given something again.
_AVOID = """
    INSERT INTO provider_gates (provider, next_slot_us, held_until_us, avoid_until_us, avoid_reason)
    VALUES (:provider, 0, 0, {now_us} + :pause_us, CAST(:reason AS text))
    ON CONFLICT (provider) DO UPDATE
       SET avoid_until_us = excluded.avoid_until_us, avoid_reason = excluded.avoid_reason
"""
_REACHED = text("""
    UPDATE provider_gates SET avoid_until_us = NULL, avoid_reason = NULL
    WHERE provider = :provider AND avoid_until_us IS NOT NULL
""")
_STANDINGS = """
    SELECT provider, held_until_us, held_until_us - clock.now_us AS left_us, told_until_us = held_until_us AS is_told,
           cause, error_code, error_reason, provider_status, paused_at_us, avoid_until_us - clock.now_us AS avoid_us,
           avoid_reason, avoid_until_us, {least}(1.0, COALESCE(
               slowed_to + {greatest}(0, clock.now_us - slowed_until_us) / {climb_us}, 1.0)) AS pace
    FROM provider_gates, (SELECT {now_us} AS now_us) AS clock
    WHERE held_until_us > clock.now_us OR paused_at_us IS NOT NULL OR avoid_until_us IS NOT NULL
       OR slowed_until_us + {climb_us} > clock.now_us
    ORDER BY provider
"""
_PAUSED_LOOK_S = 3600.0
"""How long a pause without an end is told to be: it is looked at again long before."""
_PAUSED = "An operator paused it"


def _standing(
    provider: str,
    until_us: int,
    left_us: int,
    is_told: bool,  # noqa: FBT001
    cause: str | None,
    *rest: Any,
) -> Standing:
    *words, paused_at_us, avoid_us, avoid_reason, avoid_until_us, pace = rest
    held = _held(provider, until_us, left_us, is_told, cause, *words) if left_us > 0 else None
    if paused_at_us is not None:
        held = Held(provider, _PAUSED_LOOK_S, None, Cause.PAUSED, None, _PAUSED, None, paused_at_us // 1000)
    if avoid_us is None:
        return Standing(held, None, None, pace=float(pace))
    return Standing(held, avoid_us / _US, avoid_reason, avoid_until_us // 1000, float(pace))


def _held(provider: str, until_us: int, left_us: int, is_told: bool, cause: str | None, *words: Any) -> Held:  # noqa: FBT001
    left_s, until_ms = left_us / _US, until_us // 1000
    if not is_told or cause is None:
        return Held(provider, left_s, until_ms, Cause.UNTOLD, None, None, None)
    return Held(provider, left_s, until_ms, Cause(cause), *words)
