"""How batches stand, as Redis has it for a moment: dispatchers write it, the api reads it and spares the ledger."""

from collections.abc import Iterable, Mapping

import orjson

from shared.cache import Cache
from shared.clock import now_ms
from shared.domain.states import LIVE_STATES, BatchState
from shared.ledger.reading import BatchView

RUNNING_TTL_MS, FINAL_TTL_MS = 2000, 5000
_MOST_CLOCKS_DIFFER_MS = 5000
"""Redis ends a value in time by its own clock. An old one that was put there again is told by ours, with room for two
machines' clocks; where they differ by more, the ledger is asked."""


class Statuses:
    """Batches as they stood, by id, each with the time of the look at the ledger (as_of, ms since the epoch)."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def put(self, views: Iterable[BatchView], as_of_ms: int, live_ttl_ms: int = RUNNING_TTL_MS) -> None:
        """Keep batches; one whose counts change no more for a while longer."""
        live: dict[str, bytes] = {}
        final: dict[str, bytes] = {}
        for view in views:
            kept = final if is_final(view.status, view.counts) else live
            kept[_key(view.batch_id)] = _write(view, as_of_ms)
        await self._cache.put_all(live, live_ttl_ms)
        await self._cache.put_all(final, FINAL_TTL_MS)

    async def put_after_command(self, view: BatchView, as_of_ms: int, live_ttl_ms: int) -> None:
        """Keep a batch as it stands after a command: a look of before, which somebody may be about to write, does not
        count any more."""
        await self._cache.put(_floor_key(view.batch_id), str(as_of_ms).encode(), FINAL_TTL_MS)
        await self.put([view], as_of_ms, live_ttl_ms)

    async def get(self, batch_id: str) -> tuple[BatchView, int] | None:
        """The batch without its fingerprint, and as_of; None where Redis has it not, or nothing that is proved."""
        kept, floor = await self._cache.get_all(_key(batch_id), _floor_key(batch_id))
        found = None if kept is None else _read(kept)
        if found is None or (floor is not None and found[1] < int(floor)):
            return None
        if abs(now_ms() - found[1]) > FINAL_TTL_MS + _MOST_CLOCKS_DIFFER_MS:
            return None
        return found


def is_final(status: str, counts: Mapping[str, int]) -> bool:
    """Whether a batch's counts change no more by themselves."""
    ended = status in (BatchState.FINISHED, BatchState.CANCELLED)
    return ended and not any(state in LIVE_STATES for state, number in counts.items() if number)


def _key(batch_id: str) -> str:
    return f"sms:status:{batch_id}"


def _floor_key(batch_id: str) -> str:
    return f"sms:status:{batch_id}:after"


def _write(view: BatchView, as_of_ms: int) -> bytes:
    return orjson.dumps({"as_of_ms": as_of_ms, "batch": {**dict(view), "fingerprint": ""}})


def _read(kept: bytes) -> tuple[BatchView, int] | None:
    """None also for what another version of this program wrote, with other members."""
    try:
        value = orjson.loads(kept)
        batch, as_of_ms = value["batch"], int(value["as_of_ms"])
        return (BatchView.model_validate(batch), as_of_ms) if batch.keys() == BatchView.model_fields.keys() else None
    except (orjson.JSONDecodeError, TypeError, KeyError, ValueError, AttributeError):
        return None
