"""Which dead letters a command means: the options, and the selection that they make."""

import re
from typing import Annotated

import typer

from shared.clock import now_ms
from shared.domain.dead_letter import Selection
from shared.domain.phone import InvalidNumber, normalise
from shared.ledger.database import Database
from shared.ledger.dead_letters import DeadLettersLedger
from tools.ctl.errors import UsageError
from tools.ctl.settings import load_ctl_settings
from tools.ctl.targets import place

_AGE = re.compile(r"(?P<number>\d{1,6})(?P<unit>[smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}

Target = Annotated[str | None, typer.Argument(metavar="[BATCH | BATCH:ROW]", help="Only those of a batch, or one.")]
Code = Annotated[str | None, typer.Option(help="Only those with this code, such as number_unreachable.")]
Provider = Annotated[str | None, typer.Option(help="Only those that this provider refused.")]
Number = Annotated[str | None, typer.Option(help="Only this phone number's, such as +8613800138000.")]
OlderThan = Annotated[str | None, typer.Option(help="Only what failed longer ago: 90s, 30m, 2h, 7d.")]
NewerThan = Annotated[str | None, typer.Option(help="Only what failed since then: 90s, 30m, 2h, 7d.")]
Every = Annotated[bool, typer.Option("--all", help="All that the other options leave.")]
Batches = Annotated[bool, typer.Option("--batches", help="The letters of whole batches (sms.dead-letter.batches).")]


def selected(
    target: str | None, code: str | None, provider: str | None, older_than: str | None, newer_than: str | None
) -> Selection:
    """The selection that these options make; UsageError names the one that cannot be read."""
    batch_id, row = place(target) if target is not None else (None, None)
    now = now_ms()
    return Selection(
        batch_id=batch_id,
        row=row,
        code=code,
        provider=provider,
        failed_before_ms=None if older_than is None else now - _age_ms("--older-than", older_than),
        failed_after_ms=None if newer_than is None else now - _age_ms("--newer-than", newer_than),
    )


def e164(number: str) -> str:
    """The number as the ledger has it; UsageError where it is none."""
    normalised = normalise(number, load_ctl_settings().default_region)
    if isinstance(normalised, InvalidNumber):
        raise UsageError(f"--number: {normalised.reason}")
    return normalised


async def places_of(number: str | None, database: Database) -> frozenset[tuple[str, int]] | None:
    """Where a phone number failed; None where no number is meant."""
    return None if number is None else await DeadLettersLedger(database).places_of(e164(number))


def _age_ms(option: str, text: str) -> int:
    found = _AGE.fullmatch(text)
    if found is None:
        raise UsageError(f"{option}: not an age: {text!r}; write it as 90s, 30m, 2h or 7d")
    return 1000 * int(found["number"]) * _SECONDS[found["unit"]]
