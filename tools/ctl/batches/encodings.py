"""A file's text from its bytes: read where the encoding is certain, refused where it would be a guess; pure."""

import codecs
import re
import unicodedata
from typing import NamedTuple

from tools.ctl.errors import UsageError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHINESE = "gb18030"
_LEVEL_1 = re.compile(r"[\u4e00-\u9fff]")
_CERTAIN_SHARE = 0.7
_SHOWN_BYTES = 8


class Text(NamedTuple):
    """A file's text, and the encoding that it was read in."""

    text: str
    encoding: str


def decode(content: bytes, encoding: str | None = None) -> Text:
    """A file's text: in the encoding that is named, else by its BOM, as UTF-8, or as GB18030 (which Excel writes in
    China) where it reads as Chinese.

    UsageError names line and bytes that cannot be read, or that could be several things.
    """
    if encoding is not None:
        return _read_in(content, encoding)
    for bom, name in _BOMS:
        if content.startswith(bom):
            return _read_in(content, name)
    try:
        return _without_nul(Text(content.decode(), "utf-8"))
    except UnicodeDecodeError as error:
        if (text := _as_chinese(content)) is not None:
            return _without_nul(Text(text, _CHINESE))
        raise UsageError(
            f"{_place(content, error.start)} are not UTF-8: say which encoding the file has with --encoding, such as "
            "cp1252 or gbk, or save it as CSV in UTF-8"
        ) from None


def _read_in(content: bytes, encoding: str) -> Text:
    try:
        text = content.decode(encoding)
    except LookupError:
        raise UsageError(f"there is no encoding {encoding!r}: give one such as utf-8, gbk or cp1252") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{_place(content, error.start)} are not {encoding}") from None
    return _without_nul(Text(text.removeprefix("\ufeff"), encoding))


def _without_nul(text: Text) -> Text:
    if "\0" in text.text:
        raise UsageError("the file has NUL bytes, which no text has: save it as CSV in UTF-8")
    return text


def _place(content: bytes, start: int) -> str:
    line = len(re.findall(rb"\r\n|\r|\n", content[:start])) + 1
    return f"line {line}: the bytes {content[start : start + _SHOWN_BYTES].hex(' ')}"


def _as_chinese(content: bytes) -> str | None:
    """The text in GB18030, where it cannot well be anything else: every character is one of Chinese texts, most are
    common ones (level 1 of GB 2312), and none takes a Latin letter for its second byte."""
    try:
        text = content.decode(_CHINESE)
    except UnicodeDecodeError:
        return None
    foreign = [character for character in text if not character.isascii()]
    if not all(_is_chinese(character) for character in foreign) or _takes_latin_letters(text):
        return None
    ideographs = [character for character in foreign if _LEVEL_1.match(character)]
    common = sum(map(_is_common, ideographs))
    return text if ideographs and common >= _CERTAIN_SHARE * len(ideographs) else None


def _is_chinese(character: str) -> bool:
    """An ideograph, Chinese punctuation, or a full-width letter."""
    return bool(_LEVEL_1.match(character)) or unicodedata.east_asian_width(character) in ("W", "F", "A")


def _is_common(character: str) -> bool:
    lead, *_ = character.encode(_CHINESE)
    return 0xB0 <= lead <= 0xD7 and character.encode(_CHINESE)[1] >= 0xA1


def _takes_latin_letters(text: str) -> bool:
    """Whether a character whose second byte is ASCII stands beside a Latin letter, as a letter with an accent would."""
    return any(
        not character.isascii() and character.encode(_CHINESE)[1] < 0x80 and any(map(_is_letter, beside))
        for before, character, after in zip(f" {text}", text, f"{text[1:]} ", strict=False)
        for beside in (before + after,)
    )


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()
