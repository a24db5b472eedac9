"""From a batch's recipients to the ledger's rows: numbers, duplicates, texts, segments; pure."""

from collections.abc import Iterator, Mapping

from shared.ledger.intake import NewRow
from shared.messages import BatchMessage, WireRecipient
from shared.phone import InvalidNumber, normalise
from shared.placeholders import FilledText, MissingVariable
from shared.segments import count_segments, is_blank
from shared.states import State

_LONGEST_SHOWN = 64
_LONGEST_TEXT = 10_000
_EMPTY = "The text is empty, or nothing in it can be seen"
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
            yield NewRow(_shown(to), State.INVALID, error_code=number.code, error_reason=number.reason)
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
        self._text, self._variables = FilledText(content), variables
        # Nothing is to be filled then, but `$$` is a dollar all the same.
        sent = content.replace("$$", "$")
        self._shared = None if has_variables else _row("", sent, None if sent == content else sent)

    def __call__(self, number: str, own: Mapping[str, str] | None) -> NewRow:
        if self._shared is not None:
            return NewRow(number, *self._shared[1:])
        variables = {**self._variables, **own} if own else self._variables
        text = self._text.with_variables(variables, _LONGEST_TEXT)
        if text is None:
            return _too_long(number)
        if isinstance(text, MissingVariable):
            reason = f"No value for {text.shown}"
            return NewRow(number, State.INVALID, error_code="missing_variable", error_reason=reason)
        text = text.replace("\0", "")
        return _row(number, text, text)


def _row(number: str, sent: str, kept: str | None) -> NewRow:
    """The row of a text; `kept` where it is not the batch's own."""
    if is_blank(sent):
        return NewRow(number, State.INVALID, error_code="empty_text", error_reason=_EMPTY)
    if len(sent) > _LONGEST_TEXT:
        return _too_long(number)
    return NewRow(number, State.PENDING, kept, count_segments(sent).segments)


def _too_long(number: str) -> NewRow:
    return NewRow(number, State.INVALID, error_code="text_too_long", error_reason=_TOO_LONG)


def _composer(batch: BatchMessage, content: str) -> _Composer:
    # Variables that are there and empty say as well that the text is one to be filled.
    personal = any(not isinstance(recipient, str) and "variables" in recipient for recipient in batch.recipients)
    has_variables = personal or bool(batch.variables) or batch.template_id is not None
    return _Composer(content, batch.variables, has_variables=has_variables)
