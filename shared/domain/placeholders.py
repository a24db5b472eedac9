"""A text with `$name` and `${name}` in it, and what each recipient's variables make of it; pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_PLACEHOLDER = re.compile(
    r"\$(?:(?P<escaped>\$)"
    r"|\{(?P<braced>[^{}\s$]*)(?P<closed>\})?"
    r"|(?P<named>[^\W\d]\w*)"
    r"|(?P<position>[1-9])(?![\d.,]?\d))"
)
_LONGEST_SHOWN = 20
_LONGEST_NAME = 64
"""The api's bound. A text in a script without blanks is one run of letters, and each of its beginnings a candidate."""


class Candidate(NamedTuple):
    """A name that a placeholder may mean, and what of it is text then."""

    name: str
    rest: str


class Placeholder(NamedTuple):
    """`candidates` are its possible names, the longest first; `shown` is how a reason calls it."""

    candidates: Sequence[Candidate]
    shown: str


class MissingVariable(NamedTuple):
    """The placeholder that no variable fills, as it may be shown."""

    shown: str


class FilledText:
    """A text taken apart once, to be filled for each recipient.

    A name has any letters and digits of Unicode and `_`; in braces also `.` and `-`. Without braces it ends where text
    in another script begins, unless there is a variable with the longer name: `$name您好` is `name`.
    `$$` is a dollar. `$5` and `$ 5` are prices; only where there is a `$1` too are single digits places to be filled.
    """

    def __init__(self, text: str) -> None:
        self.parts: list[str | Placeholder] = list(_parts(text))
        self.placeholders = [part for part in self.parts if isinstance(part, Placeholder)]
        self.literal = "".join(part for part in self.parts if isinstance(part, str))
        """The text where nothing is to be filled: `$$` is one dollar."""

    def with_variables(self, variables: Mapping[str, str], longest: int) -> str | MissingVariable | None:
        """The recipient's text; None where it would have more than `longest` characters.

        Reckoned before it is put together: a few kilobytes of variables can make megabytes of text.
        """
        values: list[str] = []
        length = 0
        for part in self.parts:
            value = part if isinstance(part, str) else _value(part, variables)
            if value is None:
                return self._missing(variables)
            length += len(value)
            values.append(value)
            if length > longest:
                return self._missing_or_none(variables)
        return "".join(values)

    def _missing_or_none(self, variables: Mapping[str, str]) -> MissingVariable | None:
        unfilled = any(_value(placeholder, variables) is None for placeholder in self.placeholders)
        return self._missing(variables) if unfilled else None

    def _missing(self, variables: Mapping[str, str]) -> MissingVariable:
        """Of several, the first by name."""
        unfilled = (one.shown for one in self.placeholders if _value(one, variables) is None)
        return MissingVariable(min(unfilled))


def _value(placeholder: Placeholder, variables: Mapping[str, str]) -> str | None:
    for name, rest in placeholder.candidates:
        if (value := variables.get(name)) is not None:
            return value + rest if rest else value
    return None


def _parts(text: str) -> Iterator[str | Placeholder]:
    found = list(_PLACEHOLDER.finditer(text))
    counts_places = any(one["position"] == "1" for one in found)
    end, literal = 0, ""
    for one in found:
        literal += text[end : one.start()]
        end = one.end()
        if one["escaped"]:
            literal += "$"
        elif one["position"] and not counts_places:
            literal += one[0]
        else:
            yield literal
            literal = ""
            yield _placeholder(one)
    yield literal + text[end:]


def _placeholder(one: re.Match[str]) -> Placeholder:
    if one["named"]:
        candidates = list(_names(one["named"]))
        shown = candidates[-1].name if candidates else one["named"]
        return Placeholder(candidates, f"${shown[:_LONGEST_SHOWN]}")
    if one["position"]:
        return Placeholder([Candidate(one["position"], "")], one[0])
    # Without its closing brace it names nothing, and is no text that anybody meant to send.
    candidates = [Candidate(one["braced"], "")] if one["closed"] else []
    return Placeholder(candidates, one[0][:_LONGEST_SHOWN])


def _names(run: str) -> Iterator[Candidate]:
    """The run of letters as a name, and each beginning of it that another script follows."""
    if len(run) <= _LONGEST_NAME:
        yield Candidate(run, "")
    for end in range(min(len(run) - 1, _LONGEST_NAME), 0, -1):
        if not run[end].isascii():
            yield Candidate(run[:end], run[end:])
