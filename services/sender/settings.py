"""The sender's settings."""

from math import ceil
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from services.sender.transports.address import Address
from shared.domain.outcome import RetryPolicy
from shared.settings import WorkerSettings, check_url

_AHEAD_S = 10


class SenderSettings(WorkerSettings):
    """What a sender needs beside the shared settings."""

    providers_file: Path | None = None
    """A TOML file with the account at a vendor; then `provider_url` is not looked at."""
    provider_url: SecretStr | None = None
    """Of a provider that speaks the plain format; needed where there is no `providers_file`."""
    provider_deduplicates: bool = False
    """The provider sends one text per reference however often it is called: unclear calls may then be made again."""
    provider_temporary_codes: Annotated[frozenset[str], NoDecode] = frozenset()
    provider_permanent_codes: Annotated[frozenset[str], NoDecode] = frozenset()
    provider_rate: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Calls per second that all senders together make at the most; unset: as many as they can."""
    provider_longest_pause_s: Annotated[FiniteFloat, Field(ge=1)] = 300
    """The longest pause that is kept when the provider asks for one; then one call at a time probes it."""
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 250
    """Deliveries from each lane, and so provider calls, that one sender has in flight."""
    max_attempts: Annotated[int, Field(ge=1)] = 6

    @property
    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(self.max_attempts, self.retry_tiers_s)

    @property
    def call_within_ms(self) -> int:
        """How long after its claim a number may be called: call and record then end before the lease does."""
        return self.lease_ms - round(1000 * (self.provider_timeout_s + self.lease_margin_s / 2))

    @property
    def deliveries_at_once(self) -> int:
        """The prefetch, but no more than the rate takes soon: what waits here for long looks lost to the dispatcher."""
        if self.provider_rate is None:
            return self.prefetch
        return min(self.prefetch, ceil(_AHEAD_S * self.provider_rate * self.provider_max_recipients))

    @property
    def longest_hold_s(self) -> float:
        """How long deliveries are held for a provider that is down: shorter than they would be held to be lost."""
        return self.recover_after_s / 2

    @field_validator("provider_rate", mode="before")
    @classmethod
    def _no_rate_is_unset(cls, rate: Any) -> Any:
        return rate or None

    @property
    def plain_url(self) -> str:
        """Where the plain provider is."""
        return "" if self.provider_url is None else self.provider_url.get_secret_value()

    @field_validator("providers_file", mode="before")
    @classmethod
    def _no_file_is_unset(cls, file: Any) -> Any:
        return file or None

    @field_validator("provider_url", mode="before")
    @classmethod
    def _url_beside_a_file_is_unset(cls, url: Any, info: ValidationInfo) -> Any:
        return None if info.data.get("providers_file") is not None else url

    @field_validator("provider_url")
    @classmethod
    def _is_http(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is None:
            if info.data.get("providers_file") is None:
                raise ValueError("Field required")
            return None
        checked = check_url(url, ("http://", "https://"))
        Address.of(checked.get_secret_value())
        return checked

    @field_validator("provider_temporary_codes", "provider_permanent_codes", mode="before")
    @classmethod
    def _split_codes(cls, value: Any) -> Any:
        return [code.strip() for code in value.split(",") if code.strip()] if isinstance(value, str) else value
