"""smsctl's settings: where the api is, and the key to it."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import SettingsError
from tools.ctl.batches.times import known_zone

_SECRETS = Path("/run/secrets")


class CtlSettings(BaseSettings):
    """What the commands need that talk to the api; those for the broker and the ledger read the services' settings."""

    model_config = SettingsConfigDict(
        env_prefix="SMS_", secrets_dir=_SECRETS if _SECRETS.is_dir() else None, extra="ignore", frozen=True
    )

    api_url: str = "http://127.0.0.1:8080"
    api_key: SecretStr | None = None
    default_region: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "CN"
    """The dispatcher's: in a file of several batches, repeated numbers are found by it."""

    zone: ZoneInfo | None = None
    """Of times that are typed without an offset; unset, they are this machine's local ones."""

    @field_validator("zone", mode="before")
    @classmethod
    def _is_known(cls, name: Any) -> Any:
        return known_zone(name) if isinstance(name, str) and name else None

    @field_validator("api_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("the URL must start with http:// or https://")
        place = urlsplit(url)
        if not place.hostname or place.username or place.query:
            raise ValueError("the URL is one like https://sms.example.com, without a user or a query")
        return url.rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        text = key.get_secret_value().strip() if key else ""
        if not (text.isascii() and (text.isprintable() or not text)):
            raise ValueError("a key has only printable ASCII characters")
        return SecretStr(text) if text else None


def load_ctl_settings() -> CtlSettings:
    """The settings from the environment; SettingsError is one line that names every setting that is wrong."""
    try:
        return CtlSettings()
    except ValidationError as error:
        problems = error.errors(include_input=False)
        raise SettingsError("; ".join(_line(str(item["loc"][0]), item["msg"]) for item in problems)) from None


def _line(name: str, message: str) -> str:
    return f"SMS_{name.upper()}: {message.removeprefix('Value error, ')}"
