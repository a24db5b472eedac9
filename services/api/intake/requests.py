"""What a request for a batch may say: pydantic models, the flaws they find as JSON pointers."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import NotRequired, Self, TypedDict

from services.api.serving.problems import Flaw, invalid
from shared.domain.options import NO_NUL, BatchOptions
from shared.domain.routing import ANY_PROVIDER
from shared.domain.segments import is_blank
from shared.domain.states import State

MAX_FLAWS = 20
_LATE_AT_MOST_MS = 3600 * 1000
_MAX_VARIABLES = 100
_MAX_MEMBERS = 20
_LONGEST_NUMBER = 65
"""One more than what the dispatcher takes for a number: what is cut here is no number there."""
_MAX_BIGINT = 2**63 - 1
_KINDS = ("number", "object")
_SAFE_NAME = re.compile(r"(?!.*\d{5})[A-Za-z_][\w.\[\]-]{0,63}", re.ASCII)
"""A member's name that may be repeated in an answer: nothing that could be a phone number or a text."""

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _as_text(value: Any) -> Any:
    """A whole JSON number as text; bool is an int to Python, but no text that anybody means.

    A fraction or an exponent has lost how it was written, unless whoever read the JSON kept that
    (`validation.read_json`).
    """
    if type(value) is float:
        raise ValueError("Send a number with a fraction or an exponent as a string, or its digits change")
    return str(value) if type(value) is int else value


def _number_as_text(value: Any) -> Any:
    """Whatever was given in the place of a number, as a text: a bad one ends its own row, with the reason."""
    if value is None or type(value) in (int, float):
        value = "" if value is None else str(value)
    return value[:_LONGEST_NUMBER].replace("\0", "\ufffd") if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=NO_NUL)]
Value = Annotated[
    str,
    BeforeValidator(_as_text, json_schema_input_type=str | int | float),
    StringConstraints(max_length=5000, pattern=NO_NUL),
]


def _not_too_many(value: Any) -> Any:
    # Before they are looked at one by one: each wrong one would be an error of its own.
    if isinstance(value, dict) and len(value) > _MAX_VARIABLES:
        raise ValueError(f"More than {_MAX_VARIABLES} variables")
    return value


Variables = Annotated[dict[Name, Value], BeforeValidator(_not_too_many), Field(max_length=_MAX_VARIABLES)]
Number = Annotated[
    str,
    BeforeValidator(_number_as_text, json_schema_input_type=str | float | None),
    StringConstraints(max_length=_LONGEST_NUMBER),
]


def _as_in_rfc_3339(value: Any) -> Any:
    # pydantic alone would also read Unix times, and dates without a time.
    if not (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        raise ValueError("must be a time with its offset, as in RFC 3339: 2030-01-31T08:00:00+08:00")
    return value


Time = Annotated[
    AwareDatetime,
    BeforeValidator(_as_in_rfc_3339, json_schema_input_type=str),
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC)),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _is_seen(content: str) -> str:
    if is_blank(content):
        raise ValueError("There is nothing in it that can be seen")
    return content


Content = Annotated[str, StringConstraints(min_length=1, max_length=5000, pattern=NO_NUL), AfterValidator(_is_seen)]
TemplateId = Annotated[int, Field(ge=1, le=_MAX_BIGINT, strict=True)]


class RecipientObject(TypedDict):
    """A recipient with variables of its own."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    to: Number
    variables: NotRequired[Variables]


def _kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return "object" if len(value) <= _MAX_MEMBERS else None
    return "number" if value is None or type(value) in (str, int, float) else None


Recipient = Annotated[
    Annotated[Number, Tag("number")] | Annotated[RecipientObject, Tag("object")],
    Discriminator(
        _kind,
        custom_error_type="recipient",
        custom_error_message="A recipient is a string or an object with `to`",
    ),
]


class _Schedule(BaseModel):
    """When to begin, and when to give up what is not sent by then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    send_at: Time | None = None
    expires_at: Time | None = None

    @model_validator(mode="after")
    def _expires_after_it_is_sent(self) -> Self:
        if self.send_at and self.expires_at and self.expires_at <= self.send_at:
            raise ValueError("expires_at must be later than send_at")
        return self


class BatchRequest(_Schedule, BatchOptions):
    """A batch to be sent: one text, or a template, for up to 100,000 recipients."""

    recipients: Annotated[list[Recipient], FailFast(), Field(min_length=1)]
    content: Annotated[Content | None, Field()] = None
    template_id: TemplateId | None = None
    variables: Variables = Field(default_factory=dict)
    provider: Annotated[str, StringConstraints(max_length=32, pattern=r"^[a-z][a-z0-9-]*$")] = ANY_PROVIDER

    @model_validator(mode="after")
    def _has_a_text(self) -> Self:
        if self.content is None and self.template_id is None:
            raise ValueError("give content or template_id, or both")
        return self


def _resendable(value: Any) -> Any:
    if value == State.UNKNOWN:
        raise ValueError("Unknown numbers may have been sent: decide about them with smsctl unknown resolve")
    if value not in (State.FAILED, State.EXPIRED, State.UNDELIVERED):
        raise ValueError("Only failed, expired and undelivered numbers can be sent again")
    return value


class ResendRequest(_Schedule):
    """Which numbers of a batch are to be sent again."""

    states: Annotated[
        list[Annotated[Literal["failed", "expired", "undelivered"], BeforeValidator(_resendable)]], Field(min_length=1)
    ]


class ProviderTestRequest(BaseModel):
    """One text to one number, to see whether a provider works."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: Number
    content: Content | None = None
    template_id: TemplateId | None = None
    variables: Variables = Field(default_factory=dict)


def unknown_members(members: dict[str, Any]) -> list[Flaw]:
    """The first members that a batch does not have; pydantic would make an error of each of a million."""
    unknown = islice((name for name in members if name not in BatchRequest.model_fields), MAX_FLAWS)
    return [_flaw({"loc": (name,), "type": "extra_forbidden", "msg": ""}, name) for name in unknown]


def flaws(error: ValidationError, recipients: str) -> list[Flaw]:
    """What pydantic found, as JSON pointers, without the request's own values; `recipients` is their name there."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[:MAX_FLAWS]
    return [_flaw(item, recipients) for item in found]


def flaws_of_batch(error: ValidationError, members: Mapping[str, Any], recipients: str) -> list[Flaw]:
    """The same of a batch's members. The model stops at the first recipient that is none, for each of 100,000 would be
    an error of its own; those behind it are looked at one by one, as far as there is room to tell of them."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    ours: list[Mapping[str, Any]] = [item for item in found if len(item["loc"]) > 1 and item["loc"][0] == "recipients"]
    others = [item for item in found if item not in ours]
    if ours:
        first = int(ours[0]["loc"][1])
        further = enumerate(islice(members["recipients"], first + 1, None), first + 1)
        behind = (item for place, value in further for item in _errors_of_recipient(place, value))
        ours += islice(behind, max(0, MAX_FLAWS - len(ours)))
    return [_flaw(item, recipients) for item in (*ours, *others)][:MAX_FLAWS]


def _errors_of_recipient(place: int, value: Any) -> list[Mapping[str, Any]]:
    try:
        _RECIPIENT.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return [{**item, "loc": ("recipients", place, *item["loc"])} for item in found]
    return []


_RECIPIENT: TypeAdapter[Any] = TypeAdapter(Recipient)


def _flaw(item: Mapping[str, Any], recipients: str) -> Flaw:
    location, detail = list(item["loc"]), str(item["msg"]).removeprefix("Value error, ")
    if location[:1] == ["recipients"]:
        location = [recipients, *location[1:2], *(part for part in location[2:3] if part not in _KINDS), *location[3:]]
    if item["type"] == "extra_forbidden" and _is_safe(location[-1]):
        return Flaw(pointer(location), f"Unknown member {location[-1]}")
    return Flaw(pointer(location), _DETAILS.get(item["type"], detail))


_DETAILS = {
    "string_pattern_mismatch": "Must not contain the character NUL",
    "extra_forbidden": "Unknown member",
    "model_type": "The body must be a JSON object",
}


def pointer(location: Sequence[int | str]) -> str:
    """The JSON pointer (RFC 6901) of a place, up to the first name that may not be repeated."""
    result = ""
    for part in location:
        if not _is_safe(part):
            break
        result += f"/{part}"
    return result


def _is_safe(part: int | str) -> bool:
    return isinstance(part, int) or _SAFE_NAME.fullmatch(part) is not None


def check_schedule(send_at_ms: int | None, expires_at_ms: int | None, now_ms: int) -> None:
    """Problem where a new batch could not go out any more, or was meant for another time: a time without its zone is
    often hours off."""
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise invalid(Flaw("/expires_at", "expires_at is in the past"))
    if send_at_ms is not None and send_at_ms < now_ms - _LATE_AT_MOST_MS:
        raise invalid(Flaw("/send_at", "send_at is more than an hour ago: check its offset, or leave it out"))


def epoch_ms(time: datetime | None) -> int | None:
    """A time in milliseconds since the epoch."""
    return None if time is None else round(time.timestamp() * 1000)
