"""Which dead letters a command means: the options, and the selection that they make."""

import re
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, NamedTuple, get_type_hints

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

Command = Callable[..., None]


class Filter(NamedTuple):
    """Which letters are meant, as the options say it."""

    target: Annotated[str | None, typer.Argument(metavar="[BATCH | BATCH:ROW]", help="Only those of a batch, or one.")]
    code: Annotated[str | None, typer.Option(help="Only those with this code, such as number_unreachable.")]
    provider: Annotated[str | None, typer.Option(help="Only those that this provider refused.")]
    number: Annotated[str | None, typer.Option(help="Only this phone number's, such as +8613800138000.")]
    older_than: Annotated[str | None, typer.Option(help="Only what failed longer ago: 90s, 30m, 2h, 7d.")]
    newer_than: Annotated[str | None, typer.Option(help="Only what failed since then: 90s, 30m, 2h, 7d.")]

    def selection(self) -> Selection:
        """The selection that they make, but for the number; UsageError names the one that cannot be read."""
        batch_id, row = place(self.target) if self.target is not None else (None, None)
        now = now_ms()
        return Selection(
            batch_id=batch_id,
            row=row,
            code=self.code,
            provider=self.provider,
            failed_before_ms=None if self.older_than is None else now - _age_ms("--older-than", self.older_than),
            failed_after_ms=None if self.newer_than is None else now - _age_ms("--newer-than", self.newer_than),
        )

    def must_mean_something(self, *, every: bool) -> None:
        """UsageError unless either something is given or all are meant."""
        if every == any(option is not None for option in self):
            raise UsageError("say which: a batch, <batch>:<row>, --code, --provider, --number, an age, or --all")


def with_filter(command: Command) -> Command:
    """The command, whose first parameter is a `Filter`, with the argument and the options of one."""
    _filter, *own = signature(command).parameters.values()
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in get_type_hints(Filter, include_extras=True).items()
    ]

    @wraps(command)
    def filtered(**given: Any) -> None:
        command(Filter(*(given.pop(name) for name in Filter._fields)), **given)

    parameters = [*(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own), *options]
    # An argument that must be given comes before one that may be.
    filtered.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    filtered.__annotations__ = {each.name: each.annotation for each in parameters}
    return filtered


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
