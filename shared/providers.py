"""`SMS_PROVIDERS_FILE`, as far as all services read it: the providers' names, what each takes, how fast. The accounts
in it, and their secrets, are the senders'."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from shared.domain.opt_out_codes import IN_RECEIPTS
from shared.domain.receipts import Receipt
from shared.domain.routing import ANY_NUMBER, ANY_PROVIDER, Route
from shared.errors import SettingsError
from shared.secret_references import SecretReference, read_secret
from shared.topology import Lane

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_TEMPLATE_TYPES = frozenset({"aliyun", "tencent"})
"""Vendors that take no text, only the values of a template that they know."""


def _is_prefix(value: str) -> str:
    if not re.fullmatch(r"\+[0-9]{0,15}", value):
        raise ValueError('a prefix is like "+86"; "+" is every number')
    return value


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("there is no such time zone; one is like Asia/Shanghai") from None
    return name


SignatureMethod = Literal["md5-hash", "md5", "sha1", "sha256", "sha512"]
_TELL_IDS = frozenset({"tencent", "http"})
_SIGNING = frozenset({"twilio", "vonage"})
_MORE_THAN_A_GUESS = 16


def _is_network(value: Any) -> Any:
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError('an address or a network, like "203.0.113.0/24"') from None


class ReceiptSettings(BaseModel):
    """How a provider's receipts are known to be its own: by its signature, by a path that only it knows, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    secret: SecretReference | None = None
    """The last segment of the path that it calls, 16 characters or more of those that need no escape in a URL."""
    signature_key: SecretReference | None = None
    """Twilio: the account's AuthToken. Vonage: the account's signature secret."""
    signature_method: SignatureMethod = "sha256"
    """Vonage: as the account's settings have it."""
    addresses: tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_is_network)], ...] = ()
    """From which it calls, as far as that is known; behind a proxy, that is the proxy's. None: from anywhere."""

    def model_post_init(self, _context: Any) -> None:
        if self.secret is None and self.signature_key is None:
            raise ValueError("give secret, or signature_key where the vendor signs (twilio, vonage)")

    def path_segment(self) -> str | None:
        """The secret itself; ValueError where it cannot be read or is none that a path can have."""
        if self.secret is None:
            return None
        found = read_secret(self.secret)
        if len(found) < _MORE_THAN_A_GUESS or not re.fullmatch(r"[A-Za-z0-9._~-]+", found):
            raise ValueError(f"secret: {_MORE_THAN_A_GUESS} or more of A-Z, a-z, 0-9, - . _ ~")
        return found


def receipts_path(name: str, segment: str | None) -> str:
    """Where a provider's receipts are taken; its texts from handsets at the same path under `/v1/inbound`."""
    return f"/v1/receipts/{name}" + (f"/{segment}" if segment is not None else "")


Unit = Literal["calls", "messages", "segments"]


class TemplateMapping(BaseModel):
    """One of our templates at a vendor: its code there, and theirs of our variables, by name or in their order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: Annotated[str, Field(min_length=1, max_length=64)]
    params: dict[str, str] | list[str] = {}


class ProviderSettings(BaseModel):
    """What is said of a provider beside its account."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Annotated[str, Field(min_length=1)]
    weight: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    lanes: Annotated[tuple[Lane, ...], Field(min_length=1)] = tuple(Lane)
    prefixes: Annotated[tuple[Annotated[str, AfterValidator(_is_prefix)], ...], Field(min_length=1)] = (ANY_NUMBER,)
    rate: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """So many `rate_per` per second by all senders together at the most; None: SMS_PROVIDER_RATE."""
    rate_per: Unit = "calls"
    """What the rate counts: calls, messages, or the messages' segments, as vendors bill them."""
    daily: Annotated[int, Field(ge=1, strict=True)] | None = None
    """So many messages, or with `rate_per = "segments"` segments, in a day of `daily_zone`."""
    daily_zone: Annotated[str, AfterValidator(_is_zone)] = "UTC"
    concurrency: Annotated[int, Field(ge=1, le=10_000, strict=True)] | None = None
    """Calls that one sender has under way at the most; None: as many as SMS_PREFETCH lets it have messages."""
    numbers_per_call: Annotated[int, Field(ge=1, le=1000, strict=True)] | None = None
    """None: SMS_PROVIDER_MAX_RECIPIENTS."""
    timeout_s: Annotated[FiniteFloat, Field(gt=0, le=300)] | None = None
    """None: SMS_PROVIDER_TIMEOUT_S."""
    receipts: ReceiptSettings | None = None
    """None: it tells nothing of what it took."""
    sender_name: Annotated[str, Field(max_length=50)] = ""
    """Whom its texts come from, where recipients may opt out from one of several: opt-outs by a text to it are from
    this name. Empty: from all."""
    templates: dict[int, TemplateMapping] = {}
    """By our template's id. `http` with some takes only these."""

    @field_validator("lanes", mode="before")
    @classmethod
    def _lanes_are_a_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('give a list: ["bulk", "priority"]')
        return value

    @property
    def tells_only_its_ids(self) -> bool:
        """Whether its receipts may name a text by the provider's own id alone."""
        return self.receipts is not None and self.type in _TELL_IDS

    @model_validator(mode="after")
    def _signs_if_it_can(self) -> Self:
        if self.receipts is not None and self.receipts.signature_key is not None and self.type not in _SIGNING:
            raise ValueError(f"receipts.signature_key: {self.type} signs no receipts; give receipts.secret")
        return self

    def route(self, name: str) -> Route:
        """What it takes."""
        takes_only = self.type in _TEMPLATE_TYPES or (self.type == "http" and self.templates)
        templates = frozenset(self.templates) if takes_only else None
        return Route(name, frozenset(self.lanes), frozenset(self.prefixes), self.weight, templates)


@dataclass(frozen=True, slots=True)
class Providers:
    """The providers of a system, by their names."""

    by_name: Mapping[str, ProviderSettings] = field(
        default_factory=lambda: {ANY_PROVIDER: ProviderSettings(type="plain")}
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in the file's order."""
        return tuple(self.by_name)

    def sender_name_for(self, pin: str) -> str:
        """Whom the texts of a batch come from that is pinned so; empty where it may be one of several names."""
        if pin != ANY_PROVIDER and pin in self.by_name:
            return self.by_name[pin].sender_name
        names = {settings.sender_name for settings in self.by_name.values()}
        return names.pop() if len(names) == 1 else ""

    def tells_only_ids(self, name: str) -> bool:
        """Whether a provider's receipts may name a text by the provider's own id alone, which senders note then."""
        return name in self.by_name and self.by_name[name].tells_only_its_ids

    def opted_out_from(self, receipt: Receipt) -> str | None:
        """The sender name that a receipt's recipient has opted out from; None where it says nothing of that."""
        settings = self.by_name.get(receipt.provider)
        if settings is None or receipt.code not in IN_RECEIPTS.get(settings.type, ()):
            return None
        return settings.sender_name

    @property
    def routes(self) -> tuple[Route, ...]:
        """What each of them takes."""
        return tuple(settings.route(name) for name, settings in self.by_name.items())


def read_providers(file: Path) -> Providers:
    """What the file says beside the accounts; SettingsError is one line that names the key that is wrong."""
    return Providers({name: _of(name, table) for name, table in provider_tables(file).items()})


def provider_tables(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """The tables of the file, by the providers' names; SettingsError as above."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise wrong_providers(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise wrong_providers(f"{file} is not TOML: {error}") from None
    tables = content.get("providers")
    if set(content) != {"providers"} or not isinstance(tables, dict) or not tables:
        raise wrong_providers(f"{file} has [providers.NAME] tables, and nothing else")
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise wrong_providers(f"providers.{name}: a name has up to 32 of a-z, 0-9 and -, a letter first")
        if not isinstance(table, dict):
            raise wrong_providers(f"providers.{name}: a table, [providers.{name}]")
    return tables


def wrong_providers(what: str) -> SettingsError:
    """The error about the file, on one line."""
    return SettingsError(" ".join(f"SMS_PROVIDERS_FILE: {what}".split()))


def problem_of(name: str, error: ValidationError, tags: frozenset[str] = frozenset()) -> SettingsError:
    """The first thing that is wrong with a provider's table; `tags` are parts of a place that the file has not."""
    first: Any = error.errors(include_input=False, include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part not in tags)
    what = f"providers.{name}.{key}" if key else f"providers.{name}"
    return wrong_providers(f"{what}: {first['msg'].removeprefix('Value error, ')}")


def _of(name: str, table: Mapping[str, Any]) -> ProviderSettings:
    try:
        return ProviderSettings.model_validate(table)
    except ValidationError as error:
        raise problem_of(name, error) from None
