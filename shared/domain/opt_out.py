"""What a text from a handset says about getting more of them; pure.

The words are those that US carriers have agreed on (CTIA's handbook) and China's operators (工信部 7258-2011), and more
that people use. The FCC counts any reasonable way to say it (47 CFR 64.1200(a)(10)): what looks like one, and is none
of the words, a person has to look at.
"""

import re
import unicodedata
from collections.abc import Collection
from enum import StrEnum


class Wish(StrEnum):
    """What a text asks for."""

    STOP = "stop"
    START = "start"
    MAYBE_STOP = "maybe_stop"  # a person has to look
    NONE = "none"


STOP_WORDS = frozenset(
    {
        *("STOP", "STOPALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL", "REVOKE", "OPT OUT", "OPTOUT", "REMOVE", "ARRET"),
        *("退订", "拒收", "TD", "T", "R", "N"),
    }
)
START_WORDS = frozenset({"START", "UNSTOP", "YES", "OPT IN", "OPTIN", "SUBSCRIBE", "订阅", "恢复"})
_LOOKS_LIKE = re.compile(
    r"\b(?:stop|unsubscribe|opt out|remove me|take me off|leave me alone|do ?n[o']?t (?:text|send|contact|message)"
    r"|no more|wrong number|spam|quit|cancel)\w*|退订|拒收|别发|别再|不要再|不要发|取消|骚扰|投诉|打扰|发错",
    re.IGNORECASE,
)
_SHORTEST_AT_THE_START = 3
"""Letters of a word that may begin a text: a T or an R may begin any."""
_MOST_WORDS, _MOST_IDEOGRAPHS = 3, 8
_IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")
_BESIDE_WORDS = re.compile(r"[\W_]+")


def wish_of(text: str, stop_words: Collection[str] = STOP_WORDS, start_words: Collection[str] = START_WORDS) -> Wish:
    """What a text asks for: by a word alone or at the start of a short text, whatever its case, width and signs."""
    folded = fold(text)
    for words, wish in ((stop_words, Wish.STOP), (start_words, Wish.START)):
        if any(_says(folded, fold(word)) for word in words):
            return wish
    return Wish.MAYBE_STOP if _LOOKS_LIKE.search(unicodedata.normalize("NFKC", text)) else Wish.NONE


def fold(text: str) -> str:
    """A text as words in small letters with one blank between them: full-width letters are ordinary ones (NFKC),
    accents go, signs are blanks."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return _BESIDE_WORDS.sub(" ", letters).strip()


def _says(folded: str, word: str) -> bool:
    if folded == word:
        return True
    if _IDEOGRAPH.search(word):
        return folded.startswith(word) and len(folded) <= _MOST_IDEOGRAPHS
    is_short = folded.count(" ") < _MOST_WORDS
    return len(word) >= _SHORTEST_AT_THE_START and is_short and folded.startswith(f"{word} ")
