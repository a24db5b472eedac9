"""How many segments a text takes, by 3GPP TS 23.038 (alphabet) and TS 23.040 (concatenation)."""

import unicodedata
from dataclasses import dataclass
from enum import StrEnum

_GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_7_EXTENSION = frozenset("\f^{}\\[~]|€")

_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))))


class Encoding(StrEnum):
    """The alphabet that a text goes out in."""

    GSM_7 = "gsm-7"
    UCS_2 = "ucs-2"


@dataclass(frozen=True, slots=True)
class Segments:
    """A text's encoding, its length in that encoding's units (septets, UTF-16 units), and its number of segments."""

    encoding: Encoding
    units: int
    segments: int


def is_blank(text: str) -> bool:
    """Whether a text has nothing that a reader sees: blanks, line ends, formatting and filling characters."""
    return all(
        character.isspace() or character in _FILLERS or unicodedata.category(character) in _UNSEEN for character in text
    )


def count_segments(text: str) -> Segments:
    """Count a text's segments; an empty text takes one."""
    characters = set(text)
    if characters <= _GSM_7 | _GSM_7_EXTENSION:
        costs = [2 if character in _GSM_7_EXTENSION else 1 for character in text]
        return Segments(Encoding.GSM_7, sum(costs), _parts(costs, 160, 153))
    costs = [2 if character > "\uffff" else 1 for character in text]
    return Segments(Encoding.UCS_2, sum(costs), _parts(costs, 70, 67))


def _parts(costs: list[int], single: int, concatenated: int) -> int:
    """Segments filled in order; an escape pair or a surrogate pair is never cut in two."""
    if sum(costs) <= single:
        return 1
    parts, room = 1, concatenated
    for cost in costs:
        if cost > room:
            parts, room = parts + 1, concatenated
        room -= cost
    return parts
