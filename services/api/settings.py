"""The api's settings."""

import ipaddress
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode
from typing_extensions import Self

from shared.settings import Settings

_MIB = 1024 * 1024
_SHORTEST_KEY = 16


class ApiSettings(Settings):
    """Where the api listens, who may use it, and how large a request may be."""

    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0 takes any free port; the log names it."""
    api_max_connections: Annotated[int, Field(ge=2)] = 1000
    """Half of them at the most for one address; fewer where the process may not have so many files open."""
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Separated by commas. None is allowed only on loopback: then everybody there may use the api."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may call the api, separated by commas, exactly as a browser sends them; or `*`."""
    publish_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5
    max_recipients: Annotated[int, Field(ge=1)] = 100_000
    max_body_bytes: Annotated[int, Field(ge=1024, le=15 * _MIB)] = 15 * _MIB
    """RabbitMQ 4 takes messages of up to 16 MiB, and a batch is one message."""
    idempotency_ttl_s: Annotated[int, Field(ge=1)] = 24 * 3600

    @field_validator("api_keys", "cors_origins", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("api_keys", mode="before")
    @classmethod
    def _has_a_key_where_one_is_meant(cls, keys: Any) -> Any:
        if isinstance(keys, str) and keys.strip() and not any(key.strip() for key in keys.split(",")):
            raise ValueError("give keys separated by commas: there is none between these")
        return keys

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, _, rest = origin.partition("://")
            default_port = {"http": ":80", "https": ":443"}.get(scheme)
            written_otherwise = origin != origin.lower() or (default_port and rest.endswith(default_port))
            if origin != "*" and (default_port is None or not rest or "/" in rest or written_otherwise):
                raise ValueError(
                    "give origins as browsers send them, like https://example.com: in lower case, "
                    "without a path or a default port, separated by commas"
                )
        return origins

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> Self:
        if not self.api_keys and not is_loopback(self.api_host):
            raise ValueError("SMS_API_KEYS: set one or more keys, or let SMS_API_HOST be a loopback address")
        if not is_loopback(self.api_host) and any(len(key) < _SHORTEST_KEY for key in self.api_keys):
            raise ValueError(
                f"SMS_API_KEYS: a key that others than this machine may try has {_SHORTEST_KEY} characters"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
