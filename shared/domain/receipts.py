"""Receipts: what a provider says later of a text that it took. Which number one is about, and what follows; pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from hashlib import sha256
from typing import NamedTuple

from shared.domain.message import Key, message_id
from shared.domain.states import State

MOST_OF_A_CALL = 1000
"""How far apart the rows that a reference names may be: no vendor takes more numbers in a call."""
_REFERENCE = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):([0-9]{1,9})(?:-([0-9]{1,9})|:([0-9]{1,9}))?")
_DIGEST_LENGTH = 16
_LEADING_ZEROS = re.compile(r"^0+(?=.)")
_DECIMAL, _HEXADECIMAL = re.compile(r"[0-9]{1,20}"), re.compile(r"[0-9a-f]{1,16}")


class ReceiptStatus(StrEnum):
    """What became of a text."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    UNDER_WAY = "under_way"  # the last word is still to come


class Reference(NamedTuple):
    """Our word that a vendor gives back: a number of a batch, or all the rows of a batch that a call may have had.

    `attempt` where the vendor was told which one it is.
    """

    batch_id: str
    first: int
    last: int
    attempt: int | None = None

    @property
    def names_one(self) -> bool:
        """Whether it is about one number, whatever that is."""
        return self.first == self.last

    @classmethod
    def read(cls, text: object) -> "Reference | None":
        """What `one_reference` or `call_reference` wrote, or a message's reference alone; None for anything else."""
        found = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            return None
        first = int(found[2])
        last = first if found[3] is None else int(found[3])
        if not first <= last < first + MOST_OF_A_CALL:
            return None
        return cls(found[1], first, last, None if found[4] is None else int(found[4]))


def one_reference(reference: str, attempt: int) -> str:
    """The word for one message in one attempt: `<batch_id>:<row>:<attempt>`."""
    return f"{reference}:{attempt}"


def call_reference(references: Sequence[str]) -> str:
    """The word for all messages of a call, which are of one batch: `<batch_id>:<first row>-<last row>`."""
    batch_id = references[0].partition(":")[0]
    rows = [int(reference.rpartition(":")[2]) for reference in references]
    return f"{batch_id}:{min(rows)}-{max(rows)}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt, without a number in full. What it is about: `reference`, with a `recipient` where that names several
    rows (a digest), or else the provider's own `message_id`.

    `is_of_a_part`: each part of a long text has its own, with its own message id.
    """

    provider: str
    status: ReceiptStatus
    reference: Reference | None = None
    recipient: str | None = None
    message_id: str | None = None
    code: str | None = None
    reason: str | None = None
    at_ms: int | None = None
    is_of_a_part: bool = False


class SentRow(NamedTuple):
    """A number's row, as far as receipts need it."""

    batch_id: str
    row: int
    attempt: int
    state: State
    recipient: str
    message_id: str | None
    segments: int
    is_resent: bool
    provider: str
    """At which it was tried last."""

    @property
    def key(self) -> Key:
        return self.batch_id, self.row

    @property
    def place(self) -> tuple[str, str]:
        """What `digest_of` is made of."""
        return self.batch_id, self.recipient


class Step(Enum):
    """What a receipt does to its number."""

    SETTLE = auto()  # it is in the receipt's state from now on
    WAIT = auto()  # the attempt that it is about is not recorded yet: look again
    KEEP = auto()  # it changes nothing, and is kept for who looks at the number's history
    PASS = auto()  # it says nothing new


_FINAL = {ReceiptStatus.DELIVERED: State.DELIVERED, ReceiptStatus.UNDELIVERED: State.UNDELIVERED}
_SETTLED = frozenset({State.DELIVERED, State.UNDELIVERED})
_MAY_HAVE_ARRIVED = frozenset({State.PENDING, State.QUEUED, State.RETRYING, State.FAILED, State.EXPIRED})
"""An attempt was held to have failed, and its text arrived all the same: it must not be sent again."""


def state_after(status: ReceiptStatus) -> State:
    """The state of a number whose receipt says this; KeyError for one whose last word is still to come."""
    return _FINAL[status]


def decide(row: SentRow, receipt: Receipt, status: ReceiptStatus) -> Step:
    """What the receipt does; `status` is what it says of the whole text.

    The first final word holds. One about an earlier attempt than the row's settles only that a text arrived.
    """
    if status is ReceiptStatus.UNDER_WAY or row.state is _FINAL[status]:
        return Step.PASS
    if row.is_resent or row.state in _SETTLED:
        return Step.KEEP
    arrived = status is ReceiptStatus.DELIVERED and row.provider == receipt.provider
    if row.state is State.SENDING:
        # One that arrived is looked at again too: if this attempt comes to nothing, there must be no other.
        return Step.WAIT if arrived or not _is_earlier(row, receipt) else Step.KEEP
    is_latest = not _is_earlier(row, receipt) and not _names_another_call(row, receipt)
    if row.state is State.SENT:
        return Step.SETTLE if is_latest else Step.KEEP
    if row.state is State.UNKNOWN:
        return Step.SETTLE if is_latest or arrived else Step.KEEP
    return Step.SETTLE if arrived and row.attempt > 0 and row.state in _MAY_HAVE_ARRIVED else Step.KEEP


def is_of_another(row: SentRow, receipt: Receipt) -> bool:
    """Whether the receipt comes from a provider that has not had the number, as far as its row tells: of an earlier
    attempt, another may have."""
    return row.provider != receipt.provider and not _is_earlier(row, receipt)


def of_the_whole(parts: Iterable[ReceiptStatus], segments: int) -> ReceiptStatus:
    """What the receipts of a text's parts, one for each that has any, say of the text: it arrived when all have."""
    told = list(parts)
    if ReceiptStatus.UNDELIVERED in told:
        return ReceiptStatus.UNDELIVERED
    return ReceiptStatus.DELIVERED if told.count(ReceiptStatus.DELIVERED) >= segments else ReceiptStatus.UNDER_WAY


def digest_of(batch_id: str, recipient: str) -> str:
    """What tells a batch's numbers apart in a receipt without showing them; `recipient` is in E.164."""
    return sha256(f"{batch_id}:{recipient}".encode()).hexdigest()[:_DIGEST_LENGTH]


def spellings(message_id: str) -> tuple[str, ...]:
    """How a provider's id may be written: some answer in hexadecimal and tell in decimal (SMPP 3.4, 5.2.23), in another
    case, or with leading zeros. The first is the one that `provider_ids` has.

    Only a spelling that has a letter is another one's: digits alone may be somebody else's number in either.
    """
    plain = _LEADING_ZEROS.sub("", message_id.strip().lower())
    is_decimal = _DECIMAL.fullmatch(plain) is not None
    if is_decimal and not _DECIMAL.fullmatch(hexadecimal := f"{int(plain):x}"):
        return plain, hexadecimal
    if not is_decimal and _HEXADECIMAL.fullmatch(plain):
        return plain, str(int(plain, 16))
    return (plain,)


def reference_of(row: SentRow) -> str:
    """The row's reference."""
    return message_id(row.batch_id, row.row)


def attempt_of(row: SentRow, receipt: Receipt) -> int:
    """Which attempt a receipt is about: the latest, where it does not say."""
    attempt = receipt.reference.attempt if receipt.reference is not None else None
    return row.attempt if attempt is None else attempt


def _is_earlier(row: SentRow, receipt: Receipt) -> bool:
    return attempt_of(row, receipt) < row.attempt


def _names_another_call(row: SentRow, receipt: Receipt) -> bool:
    """Whether the provider's id is another than the one that was recorded; of a part, only the first part's was."""
    if receipt.is_of_a_part or receipt.message_id is None or row.message_id is None:
        return False
    return not set(spellings(receipt.message_id)) & set(spellings(row.message_id))
