"""A batch's options: declared here once, for the request, the message to the dispatcher, the ledger, the view, a resend
and the command line."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.topology import Lane

# PostgreSQL cannot keep a NUL in a text.
NO_NUL = r"^[^\x00]*$"
MAX_TAGS = 10
_CONTROLS = r"\x00-\x1f\x7f-\xa0\u2028\u2029"
_LABEL = rf"^[^ {_CONTROLS}]([^{_CONTROLS}]*[^ {_CONTROLS}])?$"


def _is_label(text: str) -> str:
    if not re.fullmatch(_LABEL, text):
        raise ValueError("A tag is one line without blanks around it")
    return text


def _each_once(tags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(tags))


OnUnknown = Literal["hold", "resend"]
"""What becomes of a message that may have been sent."""
Tag = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(_is_label),
    Field(json_schema_extra={"pattern": _LABEL}),
]
"""A label, by which batches are found again."""


class BatchOptions(BaseModel):
    """What a batch says beside its recipients, its text and its times.

    A field here is taken in a request, travels, is kept in the column of the same name, shown with the batch and taken
    over by a resend.
    """

    model_config = ConfigDict(frozen=True)

    lane: Lane = Lane.BULK
    provider: str = "default"
    on_unknown: OnUnknown = "hold"
    reference: Annotated[str | None, StringConstraints(max_length=255, pattern=NO_NUL)] = None
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_each_once)] = []

    @property
    def options(self) -> dict[str, Any]:
        """The options alone, by name."""
        return {name: getattr(self, name) for name in OPTIONS}


OPTIONS = tuple(BatchOptions.model_fields)
"""Their names: members of the HTTP contract and of the batch message, and columns of the ledger."""
