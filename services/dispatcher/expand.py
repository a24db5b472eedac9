"""From a batch's recipients to the ledger's rows: numbers, duplicates, texts, segments; pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from string import Template

from shared.ledger.intake import NewRow
from shared.messages import BatchMessage, WireRecipient
from shared.phone import InvalidNumber, normalise
from shared.segments import count_segments
from shared.states import State

_LONGEST_SHOWN = 64
_LONGEST_TEXT = 10_000
_TOO_LONG = f"The text with its variables would be longer than {_LONGEST_TEXT} characters"


def expand(batch: BatchMessage, content: str, region: str) -> Iterator[NewRow]:
    """One row per recipient, in their order, the same at every call.

    `content` is the text; where the batch names a template or gives variables, its `$name`s are replaced.
    A bad number, a number seen before and a missing variable end their row, and no other.
    """
    seen: set[str] = set()
    compose = _composer(batch, content)
    for recipient in batch.recipients:
        to, own = (recipient, None) if isinstance(recipient, str) else _parts(recipient)
        number = normalise(to, region)
        if isinstance(number, InvalidNumber):
            yield NewRow(_shown(to), State.INVALID, error_code="invalid_number", error_reason=number.reason)
        elif number in seen:
            yield NewRow(
                number, State.DUPLICATE, error_code="duplicate", error_reason="An earlier row has the same number"
            )
        else:
            row = compose(number, own)
            if row.state is State.PENDING:
                seen.add(number)
            yield row


def failed_rows(batch: BatchMessage, code: str, reason: str) -> Iterator[NewRow]:
    """One failed row per recipient, for a batch that cannot be sent as a whole."""
    for recipient in batch.recipients:
        to = recipient if isinstance(recipient, str) else recipient["to"]
        yield NewRow(_shown(to), State.FAILED, error_code=code, error_reason=reason)


def _shown(to: str) -> str:
    # Whatever somebody typed; a database takes no NUL.
    return to[:_LONGEST_SHOWN].replace("\0", "")


def _parts(recipient: WireRecipient) -> tuple[str, Mapping[str, str] | None]:
    return recipient["to"], recipient.get("variables")


class _Composer:
    """Writes each recipient's text; a text that all share is counted once and kept with the batch, not with the row."""

    def __init__(self, content: str, variables: Mapping[str, str], *, has_variables: bool) -> None:
        self._template = Template(content)
        self._names = frozenset(self._template.get_identifiers()) if has_variables else frozenset[str]()
        self._literal = not has_variables
        self._variables = variables
        named = (found["named"] or found["braced"] for found in Template.pattern.finditer(content))
        self._uses = Counter(name for name in named if name)
        self._length = len(content)
        self._shared = NewRow("", State.PENDING, segments=count_segments(content).segments)

    def __call__(self, number: str, own: Mapping[str, str] | None) -> NewRow:
        if self._literal and self._length <= _LONGEST_TEXT:
            return NewRow(number, State.PENDING, segments=self._shared.segments)
        variables = {**self._variables, **own} if own else self._variables
        if missing := sorted(self._names - variables.keys()):
            reason = f"No value for ${missing[0]}"
            return NewRow(number, State.INVALID, error_code="missing_variable", error_reason=reason)
        # Reckoned before it is written: a few kilobytes of variables can make megabytes of text.
        longest = self._length + sum(times * len(variables[name]) for name, times in self._uses.items())
        if longest > _LONGEST_TEXT:
            return NewRow(number, State.INVALID, error_code="text_too_long", error_reason=_TOO_LONG)
        # safe_substitute leaves a lone $ as it is: a price is no mistake.
        text = self._template.safe_substitute(variables).replace("\0", "")
        return NewRow(number, State.PENDING, text=text, segments=count_segments(text).segments)


def _composer(batch: BatchMessage, content: str) -> _Composer:
    personal = any(not isinstance(recipient, str) and recipient.get("variables") for recipient in batch.recipients)
    has_variables = personal or bool(batch.variables) or batch.template_id is not None
    return _Composer(content, batch.variables, has_variables=has_variables)
