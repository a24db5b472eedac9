"""The dispatcher's settings."""

from typing import Annotated, Any

import phonenumbers
from pydantic import Field, FiniteFloat, field_validator
from pydantic_settings import NoDecode

from shared.domain.opt_out import fold
from shared.settings import WorkerSettings


class DispatcherSettings(WorkerSettings):
    """What a dispatcher needs beside the shared settings."""

    default_region: str = "CN"
    """The country (ISO 3166) as of which a number without a plus is read."""
    outbound_depth: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """How many messages may wait in each outbound queue: enough to keep senders busy, few enough for turns."""

    max_batch_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    """How many bytes of texts of their own the numbers of one batch may take in the ledger."""

    stop_words: Annotated[frozenset[str], NoDecode] = frozenset()
    """Words, beside the usual ones, by which recipients opt out; separated by commas."""
    start_words: Annotated[frozenset[str], NoDecode] = frozenset()
    """The same for opting in again."""

    backlog_look_s: Annotated[FiniteFloat, Field(gt=0)] = 15
    """How often the gauges of what waits are brought up to date."""

    @field_validator("stop_words", "start_words", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        words = frozenset(part.strip() for part in value.split(",") if part.strip())
        if unreadable := [word for word in words if not fold(word)]:
            raise ValueError(f"{unreadable[0]!r} has no letter")
        return words

    @field_validator("default_region")
    @classmethod
    def _is_region(cls, region: str) -> str:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError("give a country by its two capital letters, such as CN")
        return region
