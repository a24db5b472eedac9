"""`SMS_PROVIDERS_FILE`: the account at a provider, its secrets by reference only."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from services.sender.transports.address import Address
from shared.domain.answers import AnswerClass
from shared.errors import SettingsError

_ONLY = "default"
"""What batches name so far."""


def _secret(value: Any) -> Any:
    """What `env:NAME` or `file:PATH` refers to; a secret itself is never in the file."""
    kind, _, place = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "env" and place:
        if not (found := os.environ.get(place)):
            raise ValueError(f"the environment has no {place}")
        return found
    if kind == "file" and place:
        try:
            found = Path(place).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read {place}: {type(error).__name__}") from None
        if not found:
            raise ValueError(f"{place} is empty")
        return found
    raise ValueError('write where the secret is: "env:NAME" or "file:/path"')


def _printable(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if not (secret.isascii() and secret.isprintable()):
        raise ValueError("a secret has printable ASCII characters only")
    return value


Secret = Annotated[SecretStr, BeforeValidator(_secret), AfterValidator(_printable)]
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+( [!-~]+)*$")]


class _Account(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    allow_http: bool = False
    """Whether the endpoint may be one without TLS, which shows the key to whoever is on the way."""


class TwilioAccount(_Account):
    """`sender` (`from` in the file) or a messaging service."""

    type: Literal["twilio"]
    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-fA-F]{32}$")]
    auth_token: Secret
    api_key_sid: Annotated[str | None, Field(pattern=r"^SK[0-9a-fA-F]{32}$")] = None
    """With one, `auth_token` is its secret."""
    sender: Annotated[Word | None, Field(alias="from")] = None
    messaging_service_sid: Annotated[str | None, Field(pattern=r"^MG[0-9a-fA-F]{32}$")] = None
    endpoint: Word = "https://api.twilio.com"

    def model_post_init(self, _context: Any) -> None:
        if (self.sender is None) == (self.messaging_service_sid is None):
            raise ValueError("give from, or messaging_service_sid")


class VonageAccount(_Account):
    """An account at Vonage's SMS API."""

    type: Literal["vonage"]
    api_key: Word
    api_secret: Secret
    sender: Annotated[Word, Field(alias="from")]
    endpoint: Word = "https://rest.nexmo.com"


class InfobipAccount(_Account):
    """An account at Infobip: `endpoint` is its own base URL."""

    type: Literal["infobip"]
    api_key: Secret
    sender: Annotated[Word, Field(alias="from")]
    endpoint: Word


class HttpAnswerPlaces(BaseModel):
    """Where an answer's id, code and words are: paths with dots, such as `data.0.msgid`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Word | None = None
    code: Word | None = None
    message: Word | None = None
    accepted: list[Word] = []
    """The codes that accept; without any, an id does."""

    def model_post_init(self, _context: Any) -> None:
        if self.id is None and not self.accepted:
            raise ValueError("say what accepts: id, or code and accepted")
        if self.accepted and self.code is None:
            raise ValueError("accepted needs code, the place of the answer's code")


class HttpAccount(_Account):
    """Any gateway that takes one message in a call; `endpoint` is its URL."""

    type: Literal["http"]
    endpoint: Word
    method: Literal["GET", "POST", "PUT"] = "POST"
    body: Literal["json", "form", "query"] = "json"
    headers: dict[Word, Word] = {}
    fields: Annotated[dict[str, Any], Field(min_length=1)]
    secrets: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")], Secret] = {}
    answer: HttpAnswerPlaces
    codes: dict[AnswerClass, list[Word]] = {}

    @property
    def classes(self) -> Mapping[str, AnswerClass]:
        """The class of each code."""
        return {code: what for what, codes in self.codes.items() for code in codes}

    def model_post_init(self, _context: Any) -> None:
        listed = [code for codes in self.codes.values() for code in codes] + self.answer.accepted
        twice = next((code for code in listed if listed.count(code) > 1), None)
        if twice is not None:
            raise ValueError(f"the code {twice} is listed twice")
        nested = [name for name, value in self.fields.items() if not isinstance(value, str | int | float)]
        if self.body != "json" and nested:
            raise ValueError(f"fields.{nested[0]}: only a JSON body has more than texts and numbers")


Account = TwilioAccount | VonageAccount | InfobipAccount | HttpAccount
_ACCOUNT: TypeAdapter[Account] = TypeAdapter(Annotated[Account, Field(discriminator="type")])


def read_account(file: Path) -> Account:
    """The account in the file; SettingsError is one line that names the key that is wrong, and shows no secret."""
    providers = _providers(file)
    if set(providers) != {_ONLY} or not isinstance(providers[_ONLY], dict):
        raise _wrong(f"providers: so far exactly one is served, [providers.{_ONLY}]")
    try:
        account = _ACCOUNT.validate_python(providers[_ONLY])
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part not in ("twilio", "vonage", "infobip", "http"))
        what = f"providers.{_ONLY}.{key}" if key else f"providers.{_ONLY}"
        raise _wrong(f"{what}: {first['msg'].removeprefix('Value error, ')}") from None
    _check_endpoint(account)
    return account


def _providers(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _wrong(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{file} is not TOML: {error}") from None
    if set(content) != {"providers"} or not isinstance(content["providers"], dict):
        raise _wrong(f"{file} has [providers.NAME] tables, and nothing else")
    return content["providers"]


def _check_endpoint(account: Account) -> None:
    try:
        address = Address.of(account.endpoint)
    except ValueError:
        raise _wrong(f"providers.{_ONLY}.endpoint: not a URL") from None
    if not address.is_https and not account.allow_http:
        raise _wrong(f"providers.{_ONLY}.endpoint: https, or say allow_http = true")


def _wrong(what: str) -> SettingsError:
    return SettingsError(" ".join(f"SMS_PROVIDERS_FILE: {what}".split()))
