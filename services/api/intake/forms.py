"""What a jQuery form, or JSON with the same names, says: from its many spellings to one request."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from services.api.intake.charsets import codec_of
from services.api.intake.multipart import CHARSET_FIELD, fields_of_parts
from services.api.serving.problems import Flaw, invalid, malformed

_MOBILES = re.compile(r"mobiles(\[\d*\])?", re.ASCII)
_SINGLE = ("content", "template_id")
_PART = re.compile(r"[^,;\r\n，；、]+")
_LOST_PLUS = re.compile(r" ([1-9]\d{6,14})", re.ASCII)
_MAINLAND_MOBILE = re.compile(r"1[3-9]\d{9}", re.ASCII)
_CHARSET = re.compile(rb"(?:^|&)%s=([^&]*)" % CHARSET_FIELD.encode())
_OTHER_FIELDS = 16
_ESCAPES_PER_RECIPIENT = 8
_ESCAPES_IN_OTHER_FIELDS = 60_000
"""A text of 5,000 characters, each of four bytes, each of these escaped."""


def members_of_form(body: bytes, max_recipients: int, charset: str | None = None) -> dict[str, Any]:
    """The members of a BatchRequest in a urlencoded body; Problem where it is not one.

    Every spelling of the array may be mixed with the others: `mobiles[]`, `mobiles`, `mobiles[0]`, and several numbers
    in one field with commas, semicolons or line ends between them. The charset is the given one, else what the form's
    `_charset_` field names, else UTF-8.
    """
    return _members_of_fields(_fields(body, max_recipients, charset), max_recipients, _as_it_came)


def members_of_multipart(body: bytes, max_recipients: int, boundary: bytes, charset: str | None) -> dict[str, Any]:
    """The same in a `multipart/form-data` body."""
    fields = fields_of_parts(body, boundary, charset, max_recipients + _OTHER_FIELDS)
    return _members_of_fields(fields, max_recipients, str.strip)


def members_of_json(members: Any, max_recipients: int) -> dict[str, Any]:
    """The members of a BatchRequest in a JSON object with the form's names; Problem where it is not one."""
    if not isinstance(members, dict):
        raise invalid(Flaw("", "The body must be a JSON object"))
    if not members.keys() <= {"mobiles", "mobiles[]", *_SINGLE}:
        raise invalid(Flaw("", "Unknown member; the object has mobiles, content and template_id"))
    given = [*_listed(members.get("mobiles")), *_listed(members.get("mobiles[]"))]
    parts = (part for value in given for part in (_split(value) if isinstance(value, str) else (value,)))
    return _members(list(islice(parts, max_recipients + 1)), members)


def _members_of_fields(
    fields: Iterable[tuple[str, str]], max_recipients: int, number: Callable[[str], str]
) -> dict[str, Any]:
    recipients: list[str] = []
    single: dict[str, str] = {}
    for name, value in fields:
        if _MOBILES.fullmatch(name):
            room = max_recipients + 1 - len(recipients)
            recipients.extend(number(part) for part in islice(_split(value), room))
        elif name not in _SINGLE:
            raise invalid(Flaw("", "Unknown field; the form has mobiles[], content and template_id"))
        elif name in single:
            raise invalid(Flaw(f"/{name}", "Given more than once"))
        else:
            single[name] = value
    return _members(recipients, single)


def _fields(body: bytes, max_recipients: int, charset: str | None) -> list[tuple[str, str]]:
    # Decoding takes many times the memory of what it decodes.
    too_many_fields = body.count(b"&") >= max_recipients + _OTHER_FIELDS
    if too_many_fields or body.count(b"%") > max_recipients * _ESCAPES_PER_RECIPIENT + _ESCAPES_IN_OTHER_FIELDS:
        raise invalid(Flaw("/mobiles", f"The form has more fields or escapes than {max_recipients} recipients take"))
    named = _CHARSET.search(body)
    codec = codec_of(charset or (unquote_plus(named[1].decode("latin-1")) if named else None))
    try:
        fields = parse_qsl(body.decode(codec), keep_blank_values=True, encoding=codec, errors="strict")
    except ValueError:
        raise malformed("The form is not urlencoded in the charset that it names, or in UTF-8") from None
    return [(name, value) for name, value in fields if name != CHARSET_FIELD]


def _members(recipients: list[Any], single: Mapping[str, Any]) -> dict[str, Any]:
    members = {"recipients": recipients}
    if (content := single.get("content")) not in (None, ""):
        members["content"] = content
    if (template_id := single.get("template_id")) not in (None, ""):
        members["template_id"] = _number(template_id)
    return members


def _number(template_id: Any) -> Any:
    """A template's number also where it comes as text; anything else is left to the model."""
    if isinstance(template_id, str) and re.fullmatch(r"\s*\d{1,19}\s*", template_id, re.ASCII):
        return int(template_id)
    return template_id


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _split(value: str) -> Iterator[str]:
    return (match[0] for match in _PART.finditer(value) if match[0].strip())


def _as_it_came(part: str) -> str:
    """One number, with the blank before it where that may be a plus that was sent unencoded: the dispatcher knows the
    region, and so what the digits can be without one.

    Before a mobile number of mainland China the blank was typed: with a plus it would be somebody's in North America.
    """
    ended = part.rstrip()
    lost = _LOST_PLUS.fullmatch(ended)
    return ended if lost and not _MAINLAND_MOBILE.fullmatch(lost[1]) else ended.strip()
