"""Watching a batch to its end: events while they come, questions while they don't."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from tools.ctl.batches.snapshots import Snapshot
from tools.ctl.errors import CtlError, Refused, Unreachable

PAUSE_S = 1.0
PATIENCE_S = 60.0


class Watched(Protocol):
    """What watching needs of the api."""

    def events(self, batch_id: str) -> Iterator[Snapshot]: ...

    def batch(self, batch_id: str) -> Snapshot: ...


def watch(api: Watched, batch_id: str, pause_s: float = PAUSE_S, patience_s: float = PATIENCE_S) -> Iterator[Snapshot]:
    """The batch whenever something is heard of it; the last one has ended.

    A stream of events that breaks or cannot be had is made up for by a question, and tried again. CtlError when the
    api refuses for good, or nothing was heard for `patience_s`.
    """
    heard_at_s = time.monotonic()
    while True:
        try:
            for snapshot in _one_round(api, batch_id):
                yield snapshot
                if snapshot.has_ended:
                    return
                heard_at_s = time.monotonic()
        except (Unreachable, Refused) as error:
            if not _may_pass(error) or time.monotonic() - heard_at_s > patience_s:
                raise
        time.sleep(pause_s)


def _one_round(api: Watched, batch_id: str) -> Iterator[Snapshot]:
    with suppress(CtlError):  # the question tells whether it is only the stream
        yield from api.events(batch_id)
    yield api.batch(batch_id)


def _may_pass(error: Unreachable | Refused) -> bool:
    return isinstance(error, Unreachable) or error.may_pass
