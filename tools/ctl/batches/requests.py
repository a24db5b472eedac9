"""The requests that a list of recipients becomes: one batch, or several where there are too many for one; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from shared.domain.phone import normalise
from shared.domain.placeholders import FilledText
from tools.ctl.batches.recipients import Recipient, RecipientList
from tools.ctl.errors import UsageError

MAX_RECIPIENTS = 100_000
MAX_RECIPIENT_BYTES = 14 * 1024 * 1024
"""The api takes bodies of 15 MiB; the rest is for the text and the options."""


class BatchRequest(NamedTuple):
    """A body for `POST /v1/batches`, and the file's line of each of its recipients."""

    body: bytes
    lines: list[int]

    @property
    def recipients(self) -> int:
        return len(self.lines)


class Requests(NamedTuple):
    """A file's batches, and how many rows were left out because an earlier batch has their number."""

    batches: list[BatchRequest]
    left_out: int


def build_requests(given: RecipientList, members: Mapping[str, Any], region: str) -> Requests:
    """The batches for a list, each with these members of the HTTP contract beside its recipients; UsageError where the
    text names a variable that the list does not have.

    Each batch looks for duplicates only within itself, so what an earlier batch has is left out of the later ones.
    """
    wanted = _wanted_variables(given, members)
    pieces = list(_pieces((recipient, _wire(recipient, wanted)) for recipient in given.recipients))
    kept = pieces if len(pieces) == 1 else list(_without_repeats(pieces, region))
    batches = [_request(piece, members) for piece in kept if piece]
    return Requests(batches, len(given.recipients) - sum(batch.recipients for batch in batches))


_Piece = list[tuple[Recipient, bytes]]


def _wanted_variables(given: RecipientList, members: Mapping[str, Any]) -> Sequence[str]:
    """The columns that the text uses; all of them where a template, which is not known here, may use any."""
    if "template_id" in members or "content" not in members:
        return given.variables
    # Without a single variable the api takes a text as it is: everybody would read "$name".
    names: dict[str, None] = {}
    for placeholder in FilledText(members["content"]).placeholders:
        name = next((one.name for one in placeholder.candidates if one.name in given.variables), None)
        if name is None:
            raise UsageError(f"the text uses {placeholder.shown}, and the file has no column of that name")
        names[name] = None
    return list(names)


def _wire(recipient: Recipient, wanted: Sequence[str]) -> bytes:
    if not wanted:
        return orjson.dumps(recipient.to)
    return orjson.dumps({"to": recipient.to, "variables": {name: recipient.variables[name] for name in wanted}})


def _pieces(recipients: Iterable[tuple[Recipient, bytes]]) -> Iterator[_Piece]:
    piece: _Piece = []
    size = 0
    for recipient, wire in recipients:
        if len(piece) == MAX_RECIPIENTS or (piece and size + len(wire) + 1 > MAX_RECIPIENT_BYTES):
            yield piece
            piece, size = [], 0
        piece.append((recipient, wire))
        size += len(wire) + 1
    yield piece


def _without_repeats(pieces: Iterable[_Piece], region: str) -> Iterator[_Piece]:
    seen: set[str] = set()
    for piece in pieces:
        numbers = [normalise(recipient.to, region) for recipient, _wire in piece]
        yield [item for item, number in zip(piece, numbers, strict=True) if number not in seen]
        seen.update(number for number in numbers if isinstance(number, str))


def _request(piece: _Piece, members: Mapping[str, Any]) -> BatchRequest:
    fragments = [orjson.Fragment(wire) for _recipient, wire in piece]
    return BatchRequest(orjson.dumps({"recipients": fragments, **members}), [recipient.line for recipient, _ in piece])
