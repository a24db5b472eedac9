"""Fresh batch ids."""

import secrets

from shared.domain.ids import RANDOM_BITS, batch_id_of


def new_batch_id(now_ms: int) -> str:
    """An id that nobody has had; ids sort by their time."""
    return batch_id_of(now_ms, secrets.randbits(RANDOM_BITS))
