"""Settings that every service has, read once from the environment (prefix `SMS_`) or from /run/secrets."""

import hmac
import re
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from pydantic import Field, FiniteFloat, PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.amqp.nodes import split_urls
from shared.errors import SettingsError
from shared.ledger.address import NO_URL, SCHEMES, PostgresAddress
from shared.providers import Providers, read_providers, receipts_path
from shared.topology import Topology, build_topology

_SECRETS = Path("/run/secrets")

_SHORTEST_KEY = 16
_WITHOUT_QUERY = re.compile(r"[^\s\x00-\x1f\x7f?#]+")
_LONGEST_TIER_S = (2**32 - 1) // 1000

AnySettings = TypeVar("AnySettings", bound="Settings")


class Settings(BaseSettings):
    """What all three services share; each service adds its own."""

    model_config = SettingsConfigDict(
        env_prefix="SMS_", secrets_dir=_SECRETS if _SECRETS.is_dir() else None, extra="ignore", frozen=True
    )

    # The passwords come first: a field is validated with those above it at hand.
    amqp_password: SecretStr | None = None
    """As it is, nothing encoded: the password of the user in each of SMS_AMQP_URL's URLs that has none."""
    amqp_url: SecretStr = SecretStr("amqp://guest:guest@127.0.0.1:5672/")
    """The broker, or the nodes of a cluster, separated by commas."""
    database_password: SecretStr | None = None
    """As it is, nothing encoded: the password of the user in SMS_DATABASE_URL, where the URL has none."""
    database_url: SecretStr = SecretStr("sqlite:///.run/ledger.sqlite3")
    redis_password: SecretStr | None = None
    """As it is, nothing encoded: the password for SMS_REDIS_URL, where the URL has none."""
    redis_url: SecretStr | None = None
    cache_key: SecretStr | None = None
    """Signs what is kept in Redis; the same for all services. None is made of the other passwords."""
    management_url: SecretStr | None = None
    """RabbitMQ's management API: http or https, with user and password where they are others than in SMS_AMQP_URL.
    Unset, it is the broker's host and the plugin's port; empty, there is none."""
    policy_look_s: Annotated[FiniteFloat, Field(gt=0)] = 15
    """How often the broker's policies are looked at: one that may lose messages is found so soon."""
    providers_file: Path | None = None
    """A TOML file with the providers, the same for all services; without it there is one, `default`."""
    public_url: str | None = None
    """Where vendors reach the api, for receipts: `https://sms.example.com`, with a path where a proxy has one for it.
    Vendors are asked for receipts only where it is set. Signatures are checked over it; where it is not set, over
    the URL as the call has it."""
    retry_tiers_s: Annotated[tuple[FiniteFloat, ...], NoDecode] = (5, 30, 120, 600, 3600)
    drain_timeout_s: Annotated[FiniteFloat, Field(ge=0)] = 25
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    _providers: Providers = PrivateAttr(default_factory=Providers)

    def model_post_init(self, _context: Any) -> None:
        """Read the file once; SettingsError names what is wrong with it."""
        if self.providers_file is not None:
            self._providers = read_providers(self.providers_file)

    @property
    def all_providers(self) -> Providers:
        """The providers of the system."""
        return self._providers

    @property
    def redis_address(self) -> str | None:
        """Redis, where there is one, with its password."""
        return None if self.redis_url is None else self.redis_url.get_secret_value()

    @property
    def cache_secret(self) -> bytes:
        """What signs the values in Redis: where no key is set, the ledger's and the broker's passwords, which Redis has
        not. Services with others read nothing of each other's there, and ask the ledger."""
        if self.cache_key is not None:
            return hmac.digest(self.cache_key.get_secret_value().encode(), b"sms-batch cache", "sha256")
        urls = (self.database_url.get_secret_value(), split_urls(self.amqp_url.get_secret_value())[0])
        passwords = "\0".join(filter(None, (urlsplit(url).password for url in urls)))
        if not passwords:
            return secrets.token_bytes(32)  # nothing that others may not know: to this process its own is a secret
        return hmac.digest(passwords.encode(), b"sms-batch cache", "sha256")

    @property
    def topology(self) -> Topology:
        """What has to exist on the broker under these settings."""
        return build_topology(self.retry_tiers_s, self.all_providers.names)

    @field_validator("retry_tiers_s", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("retry_tiers_s")
    @classmethod
    def _ascending(cls, tiers_s: tuple[float, ...]) -> tuple[float, ...]:
        if not tiers_s or tiers_s[0] < 0.001 or list(tiers_s) != sorted(set(tiers_s)):
            raise ValueError("give one or more delays in seconds, ascending, separated by commas")
        if tiers_s[-1] > _LONGEST_TIER_S:
            raise ValueError(f"a queue can wait {_LONGEST_TIER_S} seconds at the longest")
        return tiers_s

    @field_validator("amqp_url")
    @classmethod
    def _are_amqp(cls, urls: SecretStr, info: ValidationInfo) -> SecretStr:
        each = [_check_place(SecretStr(url), ("amqp://", "amqps://")) for url in split_urls(urls.get_secret_value())]
        password = info.data.get("amqp_password")
        return SecretStr(",".join(_with_password(url, password) for url in each)) if password else urls

    @field_validator("database_url")
    @classmethod
    def _is_database(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        if not url.get_secret_value().startswith(SCHEMES):
            return check_url(url, ("sqlite:///", *SCHEMES))
        PostgresAddress.of(url.get_secret_value())
        password = info.data.get("database_password")
        return SecretStr(_with_password(url, password)) if password else url

    @field_validator("management_url")
    @classmethod
    def _is_http_or_empty(cls, url: SecretStr | None) -> SecretStr | None:
        return check_url(url, ("http://", "https://")) if url and url.get_secret_value() else url

    def callback_of(self, provider: str) -> str | None:
        """The URL at which a provider's receipts are taken; None where it is not to send any.

        ValueError where the secret in it cannot be read.
        """
        receipts = self.all_providers.by_name[provider].receipts
        if self.public_url is None or receipts is None:
            return None
        return f"{self.public_url}{receipts_path(provider, receipts.path_segment())}"

    @field_validator("public_url")
    @classmethod
    def _is_public(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(check_url(SecretStr(url), ("https://", "http://")).get_secret_value())
        if not parts.hostname or "@" in parts.netloc or not _WITHOUT_QUERY.fullmatch(url):
            raise ValueError("give scheme, host and, where there is one, port and path: https://sms.example.com")
        return url.rstrip("/")

    @field_validator("redis_url", "redis_password", "cache_key", "providers_file", "public_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, url: Any) -> Any:
        return url or None

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is None:
            return None
        _check_place(url, ("redis://", "rediss://", "unix://"))
        password = info.data.get("redis_password")
        return SecretStr(_with_password(url, password, needs_user=False)) if password else url

    @field_validator("cache_key")
    @classmethod
    def _is_long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key) < _SHORTEST_KEY:
            raise ValueError(f"a key has {_SHORTEST_KEY} characters or more")
        return key


class WorkerSettings(Settings):
    """What the dispatcher and the sender share."""

    provider_timeout_s: Annotated[FiniteFloat, Field(gt=0)] = 10
    """How long a provider call may take; dispatchers know by it when a claim is dead."""
    provider_max_recipients: Annotated[int, Field(ge=1, le=100)] = 1
    """How many numbers one provider call may have; above 1 calls have another format."""
    recover_after_s: Annotated[FiniteFloat, Field(gt=0)] = 900
    """How long a number may stand still before the dispatcher holds its message to be lost."""
    lease_margin_s: Annotated[FiniteFloat, Field(ge=1)] = 8
    """How much longer than its provider call a claim holds: half of it is for the record of what came of the call."""
    health_host: str = "127.0.0.1"
    health_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """0 takes any free port, so that several may run on one machine; the log names it."""

    @property
    def lease_ms(self) -> int:
        """How long a claim keeps others from judging its row: the longest provider call, and a margin.

        A call with several numbers may be refused as a whole; then there has to be time for its parts.
        """
        longest_s = max(
            (1 if self.numbers_per_call(name) == 1 else 2) * self.call_timeout_s(name)
            for name in self.all_providers.names
        )
        return round(1000 * (longest_s + self.lease_margin_s))

    def numbers_per_call(self, provider: str) -> int:
        """How many numbers a call of this provider may have."""
        return self.all_providers.by_name[provider].numbers_per_call or self.provider_max_recipients

    def call_timeout_s(self, provider: str) -> float:
        """How long a call of this provider may take."""
        return self.all_providers.by_name[provider].timeout_s or self.provider_timeout_s


def load(settings: type[AnySettings]) -> AnySettings:
    """The settings from the environment; SettingsError is one line that names every setting that is wrong."""
    try:
        return settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_problem(item) for item in error.errors(include_input=False))) from None


def load_or_exit(settings: type[AnySettings]) -> AnySettings:
    """The settings; where one is wrong, a line on stderr and exit status 2."""
    try:
        return load(settings)
    except SettingsError as error:
        sys.stderr.write(f"bad settings: {error}\n")
        sys.exit(2)


def _problem(item: Any) -> str:
    name = _variable(item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message


def _variable(location: Sequence[int | str]) -> str:
    return f"SMS_{str(location[0]).upper()}" if location else ""


def _with_password(url: SecretStr, password: SecretStr, *, needs_user: bool = True) -> str:
    parts = urlsplit(url.get_secret_value())
    login, _, places = parts.netloc.rpartition("@")
    named = {name for name, _value in parse_qsl(parts.query)}
    if (needs_user and not login) or ":" in login or named & {"password", "passfile"}:
        return url.get_secret_value()
    netloc = f"{login}:{quote(password.get_secret_value(), safe='')}@{places}"
    return urlunsplit(parts._replace(netloc=netloc))


def check_url(url: SecretStr, schemes: tuple[str, ...]) -> SecretStr:
    """The URL, where it has one of the schemes and can be taken apart; the ValueError quotes nothing of it."""
    value = url.get_secret_value()
    if not value.startswith(schemes):
        raise ValueError(f"the URL must start with {' or '.join(schemes)}")
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good = False
    if not port_is_good:
        raise ValueError(NO_URL)
    return url


def _check_place(url: SecretStr, schemes: tuple[str, ...]) -> SecretStr:
    """As `check_url`, of a server: with a slash in it, `12/34` as a password would be a port, and the user a host."""
    parts = urlsplit(check_url(url, schemes).get_secret_value())
    if "@" in f"{parts.path}{parts.query}{parts.fragment}" and "@" not in parts.netloc:
        raise ValueError(NO_URL)
    return url
