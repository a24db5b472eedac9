"""Clocks that differ: by them leases end, retries fall due, and dead letters are dated."""

import asyncio
import time
from collections.abc import Callable

from shared.ledger.diagnosing import DiagnosisLedger
from tools.ctl.doctoring.findings import Finding
from tools.ctl.doctoring.management import http_date_s
from tools.ctl.doctoring.parts import api_answer
from tools.ctl.doctoring.system import System

_MOST_S = 5


def look_at_databases_clock(system: System) -> list[Finding]:
    """The database server's clock beside this machine's."""
    return _beside("the database's", lambda: asyncio.run(_database_s(system)))


def look_at_brokers_clock(system: System) -> list[Finding]:
    """The management API's clock beside this machine's."""
    return _beside("RabbitMQ's", system.management.date_s)


def look_at_apis_clock(system: System) -> list[Finding]:
    """The api's clock beside this machine's."""
    return _beside("the api's", lambda: http_date_s(api_answer(system.api_url, "/healthz")))


def differing(whose: str, theirs_s: float, before_s: float, after_s: float) -> Finding | None:
    """What is to be said of a clock that was asked between two readings of ours."""
    # A Date header has whole seconds: it may be one behind.
    ahead_s, behind_s = theirs_s - after_s, before_s - theirs_s - 1
    if max(ahead_s, behind_s) <= _MOST_S:
        return None
    difference = f"{ahead_s:.0f} s ahead of" if ahead_s > 0 else f"{behind_s + 1:.0f} s behind"
    what = f"{whose} clock is {difference} this machine's"
    return Finding(what, "set the clocks by NTP (timedatectl set-ntp true), on whichever of the two is wrong")


def _beside(whose: str, ask_s: Callable[[], float | None]) -> list[Finding]:
    before_s = time.time()
    theirs_s = ask_s()
    if theirs_s is None:
        return []
    found = differing(whose, theirs_s, before_s, time.time())
    return [found] if found else []


async def _database_s(system: System) -> float | None:
    async with system.ledger() as database:
        clock_ms = await DiagnosisLedger(database).clock_ms()
    return None if clock_ms is None else clock_ms / 1000
