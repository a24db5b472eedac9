"""What a doctor says: what is wrong, what it only mentions, and what it could not look at; pure."""

from dataclasses import dataclass
from enum import StrEnum

from tools.ctl.errors import CtlError


class Kind(StrEnum):
    """How much a finding weighs."""

    WRONG = "wrong"
    HINT = "hint"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence that names the thing, and what to do about it (a command where there is one)."""

    what: str
    todo: str = ""
    kind: Kind = Kind.WRONG

    @property
    def lines(self) -> str:
        """The finding for the terminal."""
        prefix = "" if self.kind is Kind.WRONG else f"{self.kind}: "
        return f"{prefix}{self.what}" + (f"\n    {self.todo}" if self.todo else "")


class NotChecked(CtlError):
    """Something could not be looked at; the message is the reason, as it follows `because`."""


def not_checked(about: str, reason: str) -> Finding:
    """The line for what could not be looked at."""
    return Finding(f"{about}, because {reason}", kind=Kind.NOT_CHECKED)


def hint(what: str, todo: str = "") -> Finding:
    """Something worth knowing that is not wrong."""
    return Finding(what, todo, Kind.HINT)


def count(number: int, one: str, many: str = "") -> str:
    """`1 message`, `2 messages`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
