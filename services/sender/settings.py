"""The sender's settings."""

from typing import Annotated, Any

from pydantic import Field, FiniteFloat, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared.outcome import RetryPolicy
from shared.settings import WorkerSettings, check_url

_LEASE_MARGIN_S = 8


class SenderSettings(WorkerSettings):
    """What a sender needs beside the shared settings."""

    provider_url: SecretStr
    provider_timeout_s: Annotated[FiniteFloat, Field(gt=0)] = 10
    provider_deduplicates: bool = False
    """The provider sends one text per reference however often it is called: unclear calls may then be made again."""
    provider_temporary_codes: Annotated[frozenset[str], NoDecode] = frozenset()
    provider_permanent_codes: Annotated[frozenset[str], NoDecode] = frozenset()
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 250
    """Deliveries from each lane, and so provider calls, that one sender has in flight."""
    max_attempts: Annotated[int, Field(ge=1)] = 6

    @property
    def lease_ms(self) -> int:
        """How long a claim keeps others from judging its row: the provider call, and a margin."""
        return round(1000 * (self.provider_timeout_s + _LEASE_MARGIN_S))

    @property
    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(self.max_attempts, self.retry_tiers_s)

    @field_validator("provider_url")
    @classmethod
    def _is_http(cls, url: SecretStr) -> SecretStr:
        return check_url(url, ("http://", "https://"))

    @field_validator("provider_temporary_codes", "provider_permanent_codes", mode="before")
    @classmethod
    def _split_codes(cls, value: Any) -> Any:
        return [code.strip() for code in value.split(",") if code.strip()] if isinstance(value, str) else value
