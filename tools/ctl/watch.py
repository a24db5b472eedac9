"""Watching a batch to its end: events while they come, questions while they don't."""

import time
from collections.abc import Iterator
from typing import Protocol

from tools.ctl.errors import CtlError, Refused, Unreachable
from tools.ctl.snapshots import Snapshot

PAUSE_S = 1.0
PATIENCE_S = 60.0


class Watched(Protocol):
    """What watching needs of the api."""

    def events(self, batch_id: str) -> Iterator[Snapshot]: ...

    def batch(self, batch_id: str) -> Snapshot: ...


def watch(api: Watched, batch_id: str, pause_s: float = PAUSE_S, patience_s: float = PATIENCE_S) -> Iterator[Snapshot]:
    """The batch whenever something is heard of it; the last one has ended.

    CtlError when nothing was heard for `patience_s`, or the api refuses for good.
    """
    heard_at_s = time.monotonic()
    while True:
        for snapshot in _hear(api, batch_id, heard_at_s + patience_s):
            yield snapshot
            if snapshot.has_ended:
                return
            heard_at_s = time.monotonic()
        time.sleep(pause_s)


def _hear(api: Watched, batch_id: str, give_up_at_s: float) -> Iterator[Snapshot]:
    """One stream of events to its end or its loss, then one question."""
    try:
        yield from api.events(batch_id)
    except CtlError as error:
        _bear(error, give_up_at_s)
    try:
        yield api.batch(batch_id)
    except CtlError as error:
        _bear(error, give_up_at_s)


def _bear(error: CtlError, give_up_at_s: float) -> None:
    passes = isinstance(error, Unreachable) or (isinstance(error, Refused) and error.may_pass)
    if not passes or time.monotonic() > give_up_at_s:
        raise error
