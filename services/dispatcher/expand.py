"""From a batch's recipients to the ledger's rows: numbers, duplicates, texts, segments; pure."""

from collections.abc import Iterator, Mapping

import orjson

from shared.domain.phone import InvalidNumber, normalise
from shared.domain.placeholders import FilledText, MissingVariable
from shared.domain.segments import count_segments, is_blank
from shared.domain.states import State
from shared.ledger.intake import Content, NewRow
from shared.messages import BatchMessage, WireRecipient

_LONGEST_SHOWN = 64
_LONGEST_TEXT = 10_000
_EMPTY = "The text is empty, or nothing in it can be seen"
_TOO_LONG = f"The text with its variables would be longer than {_LONGEST_TEXT} characters"


def for_all(batch: BatchMessage, text: str) -> Content:
    """The batch's text, and what of it goes to every number without variables of its own: that is kept once."""
    row = _Composer(batch, Content(text, text))("", None)
    return Content(text, row.text or text)


def expand(batch: BatchMessage, content: Content, region: str, most_bytes: int) -> Iterator[NewRow]:
    """One row per recipient, in their order, the same at every call.

    Where the batch names a template or gives variables, the text's `$name`s are replaced. A bad number, a number seen
    before, a missing variable, and a text of one's own that would make those of the batch longer than `most_bytes`
    (UTF-8) end their row, and no other.
    """
    seen: set[str] = set()
    compose = _Composer(batch, content)
    left = most_bytes
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
            if row.text is not None:
                row, left = _within(row, left, most_bytes)
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


def _within(row: NewRow, left: int, most_bytes: int) -> tuple[NewRow, int]:
    """The row, or an invalid one where `left` bytes are too few for its text, and how many are left then."""
    size = len((row.text or "").encode())
    if size <= left:
        return row, left - size
    reason = f"The texts of the batch's numbers would take more than {most_bytes} bytes"
    return NewRow(row.recipient, State.INVALID, error_code="batch_too_large", error_reason=reason), left


class _Composer:
    """Writes each recipient's row with its text; what all share is made once."""

    def __init__(self, batch: BatchMessage, content: Content) -> None:
        self._text, self._variables, self._shared = FilledText(content.unfilled), batch.variables, content.sent
        self._has_template = batch.template_id is not None
        # Variables that are there and empty say as well that the text is one to be filled.
        personal = any(not isinstance(recipient, str) and "variables" in recipient for recipient in batch.recipients)
        has_variables = personal or bool(batch.variables) or batch.template_id is not None
        # Nothing is to be filled without, but `$$` is a dollar all the same.
        literal = content.unfilled.replace("$$", "$")
        self._for_all = self._filled(batch.variables) if has_variables else self._row(literal)

    def __call__(self, number: str, own: Mapping[str, str] | None) -> NewRow:
        if not own:
            return NewRow(number, *self._for_all[1:])
        variables = {**self._variables, **own}
        row = self._filled(variables)
        kept = orjson.dumps(variables).decode() if self._has_template and row.state is State.PENDING else None
        return row._replace(recipient=number, variables=kept)

    def _filled(self, variables: Mapping[str, str]) -> NewRow:
        text = self._text.with_variables(variables, _LONGEST_TEXT)
        if text is None:
            return _invalid("text_too_long", _TOO_LONG)
        if isinstance(text, MissingVariable):
            return _invalid("missing_variable", f"No value for {text.shown}")
        return self._row(text.replace("\0", ""))

    def _row(self, text: str) -> NewRow:
        if is_blank(text):
            return _invalid("empty_text", _EMPTY)
        if len(text) > _LONGEST_TEXT:
            return _invalid("text_too_long", _TOO_LONG)
        return NewRow("", State.PENDING, None if text == self._shared else text, count_segments(text).segments)


def _invalid(code: str, reason: str) -> NewRow:
    return NewRow("", State.INVALID, error_code=code, error_reason=reason)
