"""The dispatcher's settings."""

from typing import Annotated

import phonenumbers
from pydantic import Field, FiniteFloat, field_validator

from shared.settings import WorkerSettings


class DispatcherSettings(WorkerSettings):
    """What a dispatcher needs beside the shared settings."""

    default_region: str = "CN"
    """The country (ISO 3166) as of which a number without a plus is read."""
    outbound_depth: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """How many messages may wait in each outbound queue: enough to keep senders busy, few enough for turns."""

    max_batch_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    """How many bytes of texts of their own the numbers of one batch may take in the ledger."""

    backlog_look_s: Annotated[FiniteFloat, Field(gt=0)] = 15
    """How often the gauges of what waits are brought up to date."""

    @field_validator("default_region")
    @classmethod
    def _is_region(cls, region: str) -> str:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError("give a country by its two capital letters, such as CN")
        return region
