"""Batch ids: UUIDs (RFC 9562, version 8) that carry check digits, so that the api knows its own without a look-up.

A batch that was accepted a moment ago is in no database yet, and whoever asks for it must not be told 404. So the last
32 bits of an id are a digest of the rest: an id that carries it was given out by an api, any other was not. The digest
finds misprints; it is no secret, and knowing an id gives no right.
"""

import hashlib
import re
import uuid

_SPELLINGS = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}(?:\1[0-9a-f]{4}){2}\1[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_CHECK_MASK = 0xFFFF_FFFF
_VERSION_8 = 8 << 76
_VARIANT = 0b10 << 62
RANDOM_BITS = 42


def batch_id_of(now_ms: int, random: int) -> str:
    """A fresh id from the time and from `RANDOM_BITS` random bits; ids sort by their time."""
    return _assemble((now_ms & (1 << 48) - 1) << RANDOM_BITS | random)


def keyed_batch_id(principal: str, idempotency_key: str) -> str:
    """The one id of an idempotency key, the same in every process and after every restart."""
    digest = hashlib.blake2s(f"{principal}\0{idempotency_key}".encode(), digest_size=12, person=b"smskey").digest()
    return _assemble(int.from_bytes(digest) >> 6)


def is_ours(batch_id: str) -> bool:
    """Whether the id is one that an api gave out: well formed, with the right check digits."""
    try:
        value = uuid.UUID(batch_id)
    except ValueError:
        return False
    return str(value) == batch_id and value.int & _CHECK_MASK == _check(value.int & ~_CHECK_MASK)


def known_spelling(text: str) -> str | None:
    """One of our ids from a spelling of it, in capitals too or without its dashes; None for anything else."""
    batch_id = str(uuid.UUID(text)) if _SPELLINGS.fullmatch(text) else ""
    return batch_id if is_ours(batch_id) else None


def _assemble(payload: int) -> str:
    """A UUID of 90 payload bits: 48 before the version, 12 before the variant, 30 after it; then the check."""
    head = payload >> 42 << 80 | _VERSION_8 | (payload >> 30 & 0xFFF) << 64 | _VARIANT | (payload & (1 << 30) - 1) << 32
    return str(uuid.UUID(int=head | _check(head)))


def _check(head: int) -> int:
    return int.from_bytes(hashlib.blake2s(head.to_bytes(16), digest_size=4, person=b"smsbatch").digest())
