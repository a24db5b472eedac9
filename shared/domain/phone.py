"""Phone numbers: from what people type to E.164, and from there to what may be shown."""

import re
import unicodedata
from dataclasses import dataclass

import phonenumbers

_MAINLAND_MOBILE = re.compile(r"(?:\+86|86|0086)?(1[3-9][0-9]{9})")
_LOST_PLUS = re.compile(r" ([1-9]\d{6,14})\s*", re.ASCII)
"""A form's `+8613800138000` whose plus was not encoded; or digits after a blank that somebody typed."""
_PLAIN = re.compile(r"[+＋]?[\d\s().\-\u2010-\u2015\uff0d/]+")
_INVISIBLE = frozenset({"Cf", "Mn", "Zl", "Zp"})
_WRITTEN_AROUND = re.compile(r"(?:tel:|=?[\"'’‘“`](?=[^\"'’]))", re.IGNORECASE)
_DECIMAL_ZEROS = re.compile(r"([+＋]?\d+)[.,]0{1,2}")
"""One run of digits before the dot: `138.0013.80.00` is grouped, and its zeros are the number's."""
_GROUPED_BY_DOTS = re.compile(r"[+＋]?\(?\d{1,4}\)?(?:[\s.\-/()]+\d{1,5})*[\s.\-/()]+\d{2,5}[\s)]*")
_DIGITS_BEHIND = re.compile(r".*\d{7,}[^\d+＋]+\d{1,2}\s*")
_SPREADSHEET = re.compile(r"[+-]?\d+(?:[.,]\d+)?[Ee][+-]?\d+")
_IN_TEXT = re.compile(
    r"(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z?"
    r"|(?<![\d.+])(?:\d{1,3}\.){3}\d{1,3}:\d{1,5}(?!\d))"
    r"|(?P<number>\+?\d(?:[ ().-]?\d){7,17})"
)
_CHINA = 86
_SEPARATORS = str.maketrans("", "", " -()\t\u00a0")


@dataclass(frozen=True, slots=True)
class InvalidNumber:
    """Why something is not a number that can be texted; without the digits."""

    reason: str
    code: str = "invalid_number"


_NOT_A_NUMBER = InvalidNumber("Not a phone number")
_SPOILED = InvalidNumber(
    "A spreadsheet's notation of a large number, digits are lost: format the column as text", "spreadsheet_notation"
)
_MORE_BEHIND = InvalidNumber("One or two digits behind a whole number: write it without them")
_A_DOT = InvalidNumber("A dot that groups no digits: perhaps a decimal number from a spreadsheet")
_UNKNOWN_COUNTRY = InvalidNumber("Unknown country calling code")
_REASONS = {
    phonenumbers.ValidationResult.TOO_SHORT: InvalidNumber("Too few digits for a phone number of its country"),
    phonenumbers.ValidationResult.TOO_LONG: InvalidNumber("Too many digits for a phone number of its country"),
    phonenumbers.ValidationResult.INVALID_COUNTRY_CODE: _UNKNOWN_COUNTRY,
    phonenumbers.ValidationResult.INVALID_LENGTH: InvalidNumber("No phone number of its country has this many digits"),
    phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY: InvalidNumber("A local number without its area code"),
}


def normalise(raw: str, region: str) -> str | InvalidNumber:
    """The number in E.164 (`+8613800138000`), read as dialled in `region` (ISO 3166, `CN`) where it has no plus.

    Only what cannot be a number is refused: numbering plans change faster than libraries, and the provider knows.
    """
    if raw[:1] == " " and (lost := _LOST_PLUS.fullmatch(raw)):
        return _after_a_blank(lost[1], region)
    compact = raw.translate(_SEPARATORS)
    # 45 to 160 microseconds with the library, one with the pattern: the common case takes the pattern.
    if (region == "CN" or compact[:3] == "+86") and (mobile := _MAINLAND_MOBILE.fullmatch(compact)):
        return "+86" + mobile[1]
    return _normalise_any(raw, region)


def _after_a_blank(digits: str, region: str) -> str | InvalidNumber:
    """The number with the plus that the blank may have been, but only where it cannot be one of the region's own."""
    national = normalise(digits, region)
    if isinstance(national, str) and _can_be_texted(national):
        return national
    abroad = normalise(f"+{digits}", region)
    return abroad if isinstance(abroad, str) else national


def _can_be_texted(e164: str) -> bool:
    number = phonenumbers.parse(e164)
    if number.country_code == _CHINA:
        return _MAINLAND_MOBILE.fullmatch(e164) is not None  # landlines take no texts, and are dialled with a 0 here
    mobile = phonenumbers.PhoneNumberType.MOBILE
    return phonenumbers.is_possible_number_for_type(number, mobile) or phonenumbers.is_valid_number(number)


def _normalise_any(written: str, region: str) -> str | InvalidNumber:
    raw = _as_typed(written)
    if _SPREADSHEET.fullmatch(raw):
        return _SPOILED
    if "." in raw and not _GROUPED_BY_DOTS.fullmatch(raw):
        return _A_DOT
    if _DIGITS_BEHIND.fullmatch(raw):
        return _MORE_BEHIND
    # The library reads letters as the digits of a keypad and drops what follows a number: a stranger's phone.
    if not _PLAIN.fullmatch(raw):
        return _named(raw)
    try:
        number = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException as error:
        unknown_country = error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE
        return _UNKNOWN_COUNTRY if unknown_country else _NOT_A_NUMBER
    verdict = phonenumbers.is_possible_number_with_reason(number)
    if verdict != phonenumbers.ValidationResult.IS_POSSIBLE:
        return _REASONS[verdict]
    e164 = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    if e164.startswith("+861") and not _MAINLAND_MOBILE.fullmatch(e164) and len(e164) > len("+86") + 11:
        return _REASONS[phonenumbers.ValidationResult.TOO_LONG]
    return e164


def _as_typed(written: str) -> str:
    """Without what spreadsheets, pages and copying put around a number and into it: quotes, `tel:`, invisible
    characters, the zeros of a decimal."""
    raw = written
    if not raw.isascii():
        raw = "".join(" " if ch.isspace() else ch for ch in raw if unicodedata.category(ch) not in _INVISIBLE)
    raw = raw.strip()
    if found := _WRITTEN_AROUND.match(raw):
        raw = raw[found.end() :].rstrip("\"'’”").strip()
    decimal = _DECIMAL_ZEROS.fullmatch(raw)
    return decimal[1] if decimal else raw


def _named(raw: str) -> InvalidNumber:
    """Names the first character that is neither ASCII nor a letter: people do not see which one it is."""
    strange = next((ch for ch in raw if not (ch.isascii() or ch.isalnum() or ch.isspace())), None)
    return InvalidNumber(f"Not a phone number: it has the character U+{ord(strange):04X}") if strange else _NOT_A_NUMBER


def mask(number: str) -> str:
    """The number as it may be shown: `+86138****8000`; all stars where it is too short to hide a part."""
    if len(number) < 8:
        return "*" * len(number)
    return f"{number[: min(6, len(number) - 8)]}****{number[-4:]}"


def mask_numbers_in(text: str) -> str:
    """A text in which whatever may be a phone number is masked; batch ids, times and `10.0.0.1:5432` stay."""
    return _IN_TEXT.sub(lambda found: found["id"] or mask(found["number"]), text)
