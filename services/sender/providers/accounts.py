"""The accounts of `SMS_PROVIDERS_FILE`, a class for each type: what to enter, secrets by reference only."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from services.sender.providers.vendors import aliyun, tencent, twilio, vonage
from shared.domain.answers import AnswerClass
from shared.providers import SignatureMethod
from shared.secret_references import read_secret


def _url(value: Any) -> Any:
    if isinstance(value, str) and "@" in value and not value.startswith(("env:", "file:")):
        raise ValueError('a URL with a password is a secret: "env:NAME" or "file:/path"')
    return _maybe_secret(value)


def _maybe_secret(value: Any) -> Any:
    return read_secret(value) if isinstance(value, str) and value.startswith(("env:", "file:")) else value


def _signature(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("a signature has no blanks around it, and no control characters")
    if "【" in value or "】" in value:
        raise ValueError("write the signature without its brackets: the vendor puts them")
    return value


def _printable(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if not (secret.isascii() and secret.isprintable()):
        raise ValueError("a secret has printable ASCII characters only")
    return value


Secret = Annotated[SecretStr, BeforeValidator(read_secret), AfterValidator(_printable)]
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+( [!-~]+)*$")]
KeyId = Annotated[Word, BeforeValidator(_maybe_secret)]
"""Shown to anybody or not, as one likes: itself, or where it is."""
SignName = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_signature)]
"""What a text begins with, as it was approved: of any script."""


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
    endpoint: Word = twilio.ENDPOINT

    def model_post_init(self, _context: Any) -> None:
        if (self.sender is None) == (self.messaging_service_sid is None):
            raise ValueError("give from, or messaging_service_sid")


class VonageAccount(_Account):
    """An account at Vonage's SMS API: `api_secret`, or `signature_secret` for one whose requests are to be signed."""

    type: Literal["vonage"]
    api_key: Word
    api_secret: Secret | None = None
    signature_secret: Secret | None = None
    signature_method: SignatureMethod = "sha256"
    """As the account's settings have it: `md5-hash`, or an HMAC."""
    sender: Annotated[Word, Field(alias="from")]
    endpoint: Word = vonage.ENDPOINT

    def model_post_init(self, _context: Any) -> None:
        if (self.api_secret is None) == (self.signature_secret is None):
            raise ValueError("give api_secret, or signature_secret")


class InfobipAccount(_Account):
    """An account at Infobip: `endpoint` is its own base URL."""

    type: Literal["infobip"]
    api_key: Secret
    sender: Annotated[Word, Field(alias="from")]
    endpoint: Word


class AliyunAccount(_Account):
    """An AccessKey of Alibaba Cloud, and the signature that its texts begin with."""

    type: Literal["aliyun"]
    access_key_id: KeyId
    access_key_secret: Secret
    sign_name: SignName
    endpoint: Word = aliyun.ENDPOINT


class TencentAccount(_Account):
    """A key of Tencent Cloud, an SMS application of the account, and the signature that its texts begin with."""

    type: Literal["tencent"]
    secret_id: KeyId
    secret_key: Secret
    sdk_app_id: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
    sign_name: SignName
    region: Word = tencent.REGION
    endpoint: Word = tencent.ENDPOINT


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


Account = TwilioAccount | VonageAccount | InfobipAccount | AliyunAccount | TencentAccount | HttpAccount | PlainAccount
