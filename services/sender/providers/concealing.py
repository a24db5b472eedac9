"""A provider's own words and ids as they may be shown: without the numbers and texts of the call; pure."""

import re
from collections.abc import Iterable, Iterator, Sequence

from services.sender.providers.gateway import TextMessage
from shared.domain.phone import mask, mask_numbers_in

_LONGEST_HEARD = 30_000
"""Of words: a text of the longest kind, and as much around it again. What is shown of them is a sentence."""
_SHORTEST_QUOTE = 12
"""Characters that can be seen; what is shorter, two sentences may share by chance."""
_BY_ITS_LAST = 7
"""Digits that a number is recognised by, with its country's code or without it; few countries' numbers have fewer."""
_IN_AN_ID_BY_ITS_LAST = 8
"""An id of 18 digits has these by chance once in ten million, and would be masked then."""
_SHORTEST_TEXT_IN_AN_ID = 6
_SPELLED = re.compile(r"[+＋]?\d(?:[\s.()\-/_·\u2010-\u2015\u2212\uff0d]{0,3}\d){5,}")
"""Digits of any script, with what people write between those of a number."""


def conceal(words: str, messages: Sequence[TextMessage]) -> str:
    """The words without any of the messages' numbers, and without their texts or what is quoted of them: in any case,
    with other blanks and line ends; whatever else may be a number is masked too."""
    words = words[:_LONGEST_HEARD]
    texts = {message.text for message in messages}  # which may have line ends
    for text in texts:
        words = _without_text(words, text)
    words = _without_quotes(words, texts)  # whole ones went first: they may begin alike
    words, numbers = printable(words), [message.to for message in messages]
    return mask_numbers_in(_without_numbers(words, numbers, _BY_ITS_LAST))


def conceal_in_id(provider_message_id: str, messages: Sequence[TextMessage]) -> str:
    """The id without the messages' numbers and texts; other digits stay, as an id is looked up by them."""
    shown = printable(provider_message_id[:_LONGEST_HEARD])
    for message in messages:
        # Most ids end here: this is done for every number that goes well.
        if message.to[-2:] in shown or not shown.isascii():
            shown = _without_numbers(shown, (message.to,), _IN_AN_ID_BY_ITS_LAST)
        if _SHORTEST_TEXT_IN_AN_ID <= len(message.text) <= len(shown) or message.text == shown:
            shown = _without_text(shown, message.text)
    return shown


def printable(words: str) -> str:
    """The words without control characters, which neither a database nor a header takes."""
    return words if words.isprintable() else "".join(character for character in words if character.isprintable())


def _without_text(words: str, text: str) -> str:
    folded = text.casefold()
    if not folded or folded not in words.casefold():
        return words
    words = re.sub(re.escape(text), "…", words, flags=re.IGNORECASE)
    # Spelled in a way that only folding tells, as ß and SS: then nothing is shown.
    return "…" if folded in words.casefold() else words


def _without_quotes(words: str, texts: Iterable[str]) -> str:
    """The words without any part of the texts that is longer than what two sentences share by chance."""
    said, at = _folded(words)
    if len(said) < _SHORTEST_QUOTE:
        return words
    parts = {part for text in texts for _start, part in _parts(_folded(text)[0])}
    quotes: list[tuple[int, int]] = []
    for start, part in _parts(said):
        if part in parts:
            joins = bool(quotes) and start <= quotes[-1][1]
            quotes.append((quotes.pop()[0] if joins else start, start + _SHORTEST_QUOTE))
    for first, behind in reversed(quotes):
        words = f"{words[: at[first]]}…{words[at[behind - 1] + 1 :]}"
    return words


def _parts(folded: str) -> Iterator[tuple[int, str]]:
    """Every part of a quote's least length, with its place."""
    return ((start, folded[start : start + _SHORTEST_QUOTE]) for start in range(len(folded) - _SHORTEST_QUOTE + 1))


def _folded(words: str) -> tuple[str, list[int]]:
    """What can be seen of the words, without regard to case, and where in them each character is."""
    seen = [
        (folded, index)
        for index, character in enumerate(words)
        for folded in character.casefold()
        if folded.isprintable() and folded != " "
    ]
    return "".join(folded for folded, _index in seen), [index for _folded, index in seen]


def _without_numbers(words: str, numbers: Sequence[str], by_its_last: int) -> str:
    return _SPELLED.sub(lambda run: _run_without(run[0], numbers, by_its_last), words)


def _run_without(run: str, numbers: Sequence[str], by_its_last: int) -> str:
    """A run of digits and separators, with these numbers in it masked."""
    digits = _digits(run)
    for number in numbers:
        if number[1:][-by_its_last:] in digits:
            run = _without_number(run, number, by_its_last)
            digits = _digits(run)
    return run


def _without_number(run: str, number: str, by_its_last: int) -> str:
    own, at = number[1:], [position for position, character in enumerate(run) if character.isdecimal()]
    digits, tail = _digits(run), own[-by_its_last:]
    end = len(digits)
    while (first := digits.rfind(tail, 0, end)) >= 0:
        last, before = at[first + len(tail) - 1], len(own) - len(tail)
        while first and before and digits[first - 1] == own[before - 1]:
            first, before = first - 1, before - 1
        start = at[first]
        if start and run[start - 1] in "+＋":
            start -= 1
        run, end = run[:start] + mask(number) + run[last + 1 :], first
    return run


def _digits(run: str) -> str:
    """Its digits, in ASCII."""
    return "".join(str(int(character)) for character in run if character.isdecimal())
