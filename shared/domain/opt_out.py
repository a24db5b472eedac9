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
        *("退订", "退訂", "拒收", "TD", "T", "R", "N"),
    }
)
START_WORDS = frozenset({"START", "UNSTOP", "YES", "OPT IN", "OPTIN", "SUBSCRIBE", "订阅", "恢复"})
_LOOKS_LIKE = re.compile(
    r"(?<![a-z])(?:stop|unsub|opt ?out|remove me|take me off|leave me alone|no more|wrong number|spam|quit|cancel"
    r"|revoke|(?:dont|do not) (?:text|send|contact|message|call|write))"
    r"|退订|退訂|拒收|别发|別發|别再|別再|不要再|不要发|不要發|取消|骚扰|騷擾|投诉|投訴|打扰|打擾|发错|發錯|回复? ?t"
)
"""In a folded text."""
_APOSTROPHES = "'\u2019\u02bc\u2018\uff07`"
_ALONE = frozenset({"end", "quit", "cancel", "revoke", "remove"})
"""Words that begin many a text about something else: they count only alone."""
_SHORTEST_AT_THE_START = 3
"""Letters of a word that may begin a text: a T or an R may begin any."""
_MOST_WORDS, _MOST_IDEOGRAPHS = 3, 8
_IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")
_BESIDE_WORDS = re.compile(r"[\W_]+")


def wish_of(text: str, stop_words: Collection[str] = STOP_WORDS, start_words: Collection[str] = START_WORDS) -> Wish:
    """What a text asks for, whatever its case, width and signs: a STOP by a word alone or at the start of a short text,
    a START only by a word alone, for who says more may say the opposite."""
    folded = fold(text)
    if any(_says(folded, fold(word)) for word in stop_words):
        return Wish.STOP
    if any(folded == fold(word) for word in start_words):
        return Wish.START
    return Wish.MAYBE_STOP if _LOOKS_LIKE.search(folded) else Wish.NONE


def fold(text: str) -> str:
    """A text as words in small letters with one blank between them: full-width letters are ordinary ones (NFKC),
    accents and apostrophes go, other signs are blanks."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter) and letter not in _APOSTROPHES)
    return _BESIDE_WORDS.sub(" ", letters).strip()


def _says(folded: str, word: str) -> bool:
    if folded == word:
        return True
    if _IDEOGRAPH.search(word):
        return folded.startswith(word) and len(folded) <= _MOST_IDEOGRAPHS
    is_short = folded.count(" ") < _MOST_WORDS
    return word not in _ALONE and len(word) >= _SHORTEST_AT_THE_START and is_short and folded.startswith(f"{word} ")
