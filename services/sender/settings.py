"""The sender's settings."""

from math import ceil
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import NoDecode
from typing_extensions import Self

from services.sender.transports.address import Address
from shared.domain.outcome import RetryPolicy
from shared.settings import WorkerSettings, check_url

_AHEAD_S = 10


class SenderSettings(WorkerSettings):
    """What a sender needs beside the shared settings."""

    providers: Annotated[frozenset[str], NoDecode] = frozenset()
    """The names of those providers in the file that this sender serves, separated by commas; none: all of them."""
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
    fuse_first: Annotated[int, Field(ge=0)] = 50
    """After how many messages that are refused for the same reason about its content a batch pauses itself, from its
    first one on; 0 for never."""
    fuse_later: Annotated[int, Field(ge=0)] = 200
    """The same in a row later on."""

    @property
    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(self.max_attempts, self.retry_tiers_s)

    def call_within_ms(self, provider: str) -> int:
        """How long after its claim a number may be called: call and record then end before the lease does."""
        return self.lease_ms - round(1000 * (self.call_timeout_s(provider) + self.lease_margin_s / 2))

    @property
    def served(self) -> tuple[str, ...]:
        """The providers that this sender serves."""
        return tuple(name for name in self.all_providers.names if not self.providers or name in self.providers)

    def rate(self, provider: str) -> float | None:
        """How many calls per second all senders together make there at the most; None for as many as they can."""
        return self.all_providers.by_name[provider].rate or self.provider_rate

    def deliveries_at_once(self, provider: str, per_call: int) -> int:
        """The prefetch of each lane, but no more than the rate takes soon: what waits here for long looks lost to the
        dispatcher. `per_call` is how many of them share a call."""
        concurrency = self.all_providers.by_name[provider].concurrency
        most = self.prefetch if concurrency is None else concurrency * per_call
        rate = self.rate(provider)
        return most if rate is None else min(most, ceil(_AHEAD_S * rate * per_call))

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

    @model_validator(mode="after")
    def _serves_known_ones(self) -> Self:
        if unknown := sorted(self.providers.difference(self.all_providers.names)):
            raise ValueError(f"SMS_PROVIDERS: there is no provider {unknown[0]} in SMS_PROVIDERS_FILE")
        return self

    @field_validator("providers", "provider_temporary_codes", "provider_permanent_codes", mode="before")
    @classmethod
    def _split_codes(cls, value: Any) -> Any:
        return [code.strip() for code in value.split(",") if code.strip()] if isinstance(value, str) else value
