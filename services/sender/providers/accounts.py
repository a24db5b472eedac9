"""The accounts of `SMS_PROVIDERS_FILE`, a class for each type: what to enter, secrets by reference only."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from shared.domain.answers import AnswerClass


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


def _url(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("env:", "file:")):
        return _secret(value)
    if isinstance(value, str) and "@" in value:
        raise ValueError('a URL with a password is a secret: "env:NAME" or "file:/path"')
    return value


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


class PlainAccount(_Account):
    """A provider that speaks the plain format; `endpoint` may be a reference, for it may have a password in it."""

    type: Literal["plain"]
    url: Annotated[SecretStr, BeforeValidator(_url)]

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return self.url.get_secret_value()


Account = TwilioAccount | VonageAccount | InfobipAccount | HttpAccount | PlainAccount
