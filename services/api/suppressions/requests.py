"""What a request about opted-out numbers may say."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.domain.options import NO_NUL

MOST = 10_000
E164 = r"^\+[1-9][0-9]{6,14}$"
_Number = Annotated[str, StringConstraints(pattern=E164)]
SenderName = Annotated[str, StringConstraints(max_length=50, pattern=NO_NUL)]


class AddRequest(BaseModel):
    """Numbers in E.164 that get nothing any more: of one sender name, or of all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipients: Annotated[list[_Number], Field(min_length=1, max_length=MOST)]
    sender_name: SenderName = ""
    """A provider's `sender_name`; empty: of all."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)] | None = None


class RemoveRequest(BaseModel):
    """Numbers in E.164 that may get texts again: of one sender name, or of all of them where none is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipients: Annotated[list[_Number], Field(min_length=1, max_length=MOST)]
    sender_name: SenderName | None = None
