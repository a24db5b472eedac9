"""What a request about dead letters may say."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import Self

from services.api.intake.requests import Time
from shared.domain.options import NO_NUL
from shared.messages import BatchId, Count

_WORD = StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)
_SELECTING = ("batch_id", "code", "provider", "recipient", "failed_before", "failed_after")


class ReplayRequest(BaseModel):
    """Which dead letters are meant: all, or those that fit everything given; at most `limit` of them at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_id: BatchId | None = None
    row: Count | None = None
    code: Annotated[str, _WORD] | None = None
    provider: Annotated[str, _WORD] | None = None
    recipient: Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")] | None = None
    failed_before: Time | None = None
    failed_after: Time | None = None
    all: bool = False
    batches: bool = False
    dry_run: bool = False
    limit: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 1000

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.all == any(getattr(self, name) is not None for name in _SELECTING):
            raise ValueError(f"Say which: all, or some of {', '.join(_SELECTING)}")
        if self.row is not None and self.batch_id is None:
            raise ValueError("A row needs its batch_id")
        return self


class DiscardRequest(ReplayRequest):
    """The same, and why they are thrown away."""

    reason: Annotated[str, _WORD]
