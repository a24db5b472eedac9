"""What a command or a letter is about, as it is named: a batch, or a number of it."""

import re
from typing import NamedTuple

from tools.ctl.errors import UsageError

_PLACE = re.compile("(?P<batch>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?::(?P<row>[0-9]{1,9}))?")


class Place(NamedTuple):
    """A batch, and the row where it is a number's place."""

    batch_id: str
    row: int | None


def place_of(text: str) -> Place | None:
    """What `<batch>` or `<batch>:<row>` names; None where the text is neither."""
    found = _PLACE.fullmatch(text)
    return found and Place(found["batch"], int(found["row"]) if found["row"] else None)


def place(text: str) -> Place:
    """The same for an argument; UsageError where it names nothing."""
    if found := place_of(text):
        return found
    raise UsageError(f"neither a batch's id nor <batch>:<row>: {text!r}")


def batch_id(text: str) -> str:
    """The argument, where it is a batch's id; UsageError otherwise."""
    found = place_of(text)
    if found is None or found.row is not None:
        raise UsageError(f"not a batch's id: {text!r}")
    return found.batch_id
