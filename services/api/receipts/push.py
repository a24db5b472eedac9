"""What a vendor calls us with, and what it wants to hear; pure, but for the log."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl

import orjson
import structlog

from shared.domain.phone import mask_numbers_in
from shared.messages import InboundText, WireReceipt

CHINA = timezone(timedelta(hours=8))
_FORM = "application/x-www-form-urlencoded"
_LONGEST_CODE, _LONGEST_REASON, _LONGEST_ID = 64, 240, 200
_MOST = 1000
_MOST_FIELDS = 200

Item = TypeVar("Item")
log = structlog.get_logger()
_TIMES_END_MS = 2**43
"""What the message to the dispatcher can say."""


class NotReceipts(ValueError):
    """What a vendor posted cannot be read; the text says what, and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Push:
    """A vendor's call. `url` is as the vendor has called it, as far as we know; `headers` by their names in lower
    case."""

    method: str
    url: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_form(self) -> bool:
        """Whether the body is a form."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM

    @property
    def form(self) -> Sequence[tuple[str, str]]:
        """The fields of a form; NotReceipts for one that is broken."""
        try:
            return parse_qsl(
                self.body.decode(), keep_blank_values=True, strict_parsing=bool(self.body), max_num_fields=_MOST_FIELDS
            )
        except ValueError:
            raise NotReceipts("the body is no form of UTF-8") from None

    def json(self) -> Any:
        """The body's JSON; NotReceipts where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise NotReceipts("the body is not JSON") from None


class Heard(NamedTuple):
    """What a vendor wants to hear when it may forget what it told."""

    status: int = 204
    body: bytes = b""
    kind: str = "application/json"


class ReceiptFormat(Protocol):
    """How one type of provider tells receipts; pure."""

    heard: Heard
    """The answer to a push that is safe with us."""

    def read(self, push: Push) -> list[WireReceipt]:
        """The receipts in a push, those too that say nothing final; NotReceipts for what is none."""

    def check(self, push: Push) -> Heard | None:
        """The answer to a call that only tries whether we are there; None for any other."""


class InboundFormat(Protocol):
    """How one type of provider passes texts on that came from handsets; pure."""

    heard: Heard
    """As `ReceiptFormat.heard`."""

    def read(self, push: Push) -> list[InboundText]:
        """The texts in a push; NotReceipts for what has none."""

    def check(self, push: Push) -> Heard | None:
        """As `ReceiptFormat.check`."""


class NoChecks:
    """Of vendors that try nothing out."""

    def check(self, _push: Push) -> Heard | None:
        """As `ReceiptFormat.check`."""
        return None


def readable(entries: Iterable[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], Item]) -> list[Item]:
    """The entries of a push, but for those that cannot be read, for which the log has a line: a push is not refused,
    and told again and again, for one of its hundred. NotReceipts where none can be read."""
    found: list[Item] = []
    flaws: list[NotReceipts] = []
    for entry in entries:
        try:
            found.append(read(entry))
        except NotReceipts as flaw:
            flaws.append(flaw)
    if flaws and not found:
        raise flaws[0]
    if flaws:
        log.warning("vendor_entries_left_out", entries=len(flaws), reason=str(flaws[0]))
    return found


def entries_of(content: object) -> list[Mapping[str, Any]]:
    """A list of objects, as many as one push may have; NotReceipts for anything else."""
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise NotReceipts("the body is not a list of objects")
    if len(content) > _MOST:
        raise NotReceipts(f"more than {_MOST} receipts at once")
    return content


def code_shown(value: object) -> str | None:
    """A vendor's code; None where there is none."""
    return _shown(value, _LONGEST_CODE)


def words_shown(value: object) -> str | None:
    """A vendor's words, without numbers in full."""
    return _shown(value, _LONGEST_REASON)


def id_of(value: object) -> str | None:
    """A vendor's id."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return _printable(str(value))[:_LONGEST_ID] or None


def time_ms(value: object, form: str, zone: timezone = UTC) -> int | None:
    """A time as the vendor writes it, in its zone where it names none; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        told = datetime.strptime(value, form)  # noqa: DTZ007 - below
    except ValueError:
        return None
    return _epoch_ms(told if told.tzinfo else told.replace(tzinfo=zone))


def iso_ms(value: object) -> int | None:
    """A time in RFC 3339, with its offset and with fractions of a second or without; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        told = datetime.fromisoformat(value)
    except ValueError:
        return None
    return _epoch_ms(told) if told.tzinfo is not None else None


def _epoch_ms(told: datetime) -> int | None:
    at_ms = round(1000 * told.timestamp())
    return at_ms if 0 <= at_ms < _TIMES_END_MS else None


def _shown(value: object, longest: int) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return mask_numbers_in(_printable(str(value)))[:longest] or None


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable()).strip()
