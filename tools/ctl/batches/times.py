"""Times as people type them: a local one needs a zone, and which zone is meant is never guessed."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from tools.ctl.errors import UsageError

_SHOWN = "%Y-%m-%d %H:%M:%S"
_HOW = "2030-01-31T08:00:00+08:00, or as 2030-01-31T08:00 with --zone Asia/Shanghai"


def known_zone(name: str) -> ZoneInfo:
    """The zone of a name of the IANA's; a ValueError where there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # For a folder of zones, such as Asia, it is an OSError.
        raise ValueError("give a zone by its name, such as Asia/Shanghai or UTC") from None


def read_time(text: str, zone: ZoneInfo | None) -> datetime:
    """The time with its offset: its own, or the zone's, or this machine's.

    UsageError for a time that the clocks of the zone show twice or never, and for one without an offset where no zone
    is given and the machine's is UTC: nobody has chosen that one, least of all in a container.
    """
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"not a time: {text!r}; write it as {_HOW}") from None
    if given.tzinfo is not None:
        return given.astimezone(zone) if zone else given
    if zone is not None:
        return _placed(given, partial(datetime.replace, tzinfo=zone), str(zone))
    if _machine_is_at_utc():
        raise UsageError(
            f"{text} is in no zone, and this machine's is UTC: write it as {_HOW} (or SMS_ZONE; --zone UTC for UTC)"
        )
    return _placed(given, datetime.astimezone, "this machine's zone")


def shown(when: datetime) -> str:
    """The time in its own zone and in UTC, for whoever typed it to look at."""
    zone = f" {when.tzinfo}" if isinstance(when.tzinfo, ZoneInfo) else ""
    local = f"{when:{_SHOWN}}{zone} ({when.isoformat()[-6:] if when.utcoffset() else '+00:00'})"
    return f"{local} = {when.astimezone(UTC):{_SHOWN}} UTC"


def _placed(given: datetime, place: Callable[[datetime], datetime], zone: str) -> datetime:
    """PEP 495: of a time that is there twice, `fold` says which; one that is skipped comes back as another."""
    first, second = place(given.replace(fold=0)), place(given.replace(fold=1))
    if first.astimezone(UTC).astimezone(first.tzinfo).replace(tzinfo=None) != given:
        raise UsageError(f"{given.isoformat()} does not exist in {zone}: the clocks are put forward over it")
    if first.utcoffset() != second.utcoffset():
        both = f"{first.isoformat()} or {second.isoformat()}"
        raise UsageError(f"{given.isoformat()} is there twice in {zone}, as the clocks are put back: write {both}")
    return first


def _machine_is_at_utc() -> bool:
    # Also what the C library makes of a TZ that it does not know.
    return time.timezone == 0 and not time.daylight
