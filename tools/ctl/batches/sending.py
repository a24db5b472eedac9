"""Sending batches and watching them: what `send`, `status` and `sample` share."""

import secrets
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from tools.ctl.api import Api
from tools.ctl.batches.display import showing
from tools.ctl.batches.report import print_batch, print_counts, print_failures, refusal
from tools.ctl.batches.requests import BatchRequest
from tools.ctl.batches.snapshots import Accepted, MessageRow, Snapshot, total
from tools.ctl.batches.watch import Watched, watch
from tools.ctl.errors import CtlError, Interrupted, MaybePosted, Refused, Unreachable
from tools.ctl.settings import load_ctl_settings

_FAILURE_STATES = ("failed", "unknown", "invalid")
_FAILURES_SHOWN = 5


def open_api() -> Api:
    """The api of the settings."""
    settings = load_ctl_settings()
    return Api(settings.api_url, settings.api_key.get_secret_value() if settings.api_key else None)


def note(line: str) -> None:
    """Tell the person something beside the result."""
    print(f"smsctl: {line}", file=sys.stderr)


Post = Callable[[bytes, str, Callable[[str], None]], Accepted]
"""As `Api.post_batch`."""


def post_all(post: Post, batches: Sequence[BatchRequest], key: str | None, console: Console) -> list[str]:
    """Post every batch, each under its own idempotency key; their ids. MaybePosted where that fails half-way."""
    key = key or secrets.token_hex(16)
    accepted: list[str] = []
    for part, batch in enumerate(batches, start=1):
        part_key = key if len(batches) == 1 else f"{key}-{part}"
        try:
            answer = post(batch.body, part_key, note)
        except (CtlError, KeyboardInterrupt) as error:
            raise _not_posted(error, batch, accepted, key) from None
        accepted.append(answer.batch_id)
        console.print(f"batch {answer.batch_id}: accepted, {answer.recipients} recipients", soft_wrap=True)
    return accepted


def follow_all(api: Watched, batch_ids: Sequence[str], console: Console) -> list[Snapshot]:
    """Show the progress of one batch after the other, to the end of each."""
    ended: list[Snapshot] = []
    for batch_id in batch_ids:
        try:
            ended.append(_followed(api, batch_id, console))
        except KeyboardInterrupt:
            raise Interrupted(f"no longer watching, the batch goes on: smsctl status {batch_id} --follow") from None
        except Unreachable as error:
            raise CtlError(f"{error}; the batch goes on: smsctl status {batch_id} --follow") from None
    return ended


def report(console: Console, ended: Sequence[Snapshot]) -> None:
    """The counts of all batches together; CtlError where one of them did not go its whole way, or nothing was valid."""
    counts = total([batch.counts for batch in ended])
    print_counts(console, counts)
    for batch in ended:
        if not batch.has_succeeded:
            raise CtlError(f"batch {batch.batch_id}: {batch.error_reason or batch.status}")
    if counts and set(name for name, number in counts.items() if number) <= {"invalid", "duplicate"}:
        raise CtlError("nothing was sent: no recipient was valid; smsctl status shows why")


def show_status(api: Api, batch_id: str, console: Console) -> Snapshot:
    """A batch as it stands, with its first failures."""
    batch = api.batch(batch_id)
    print_batch(console, batch)
    print_counts(console, batch.counts)
    print_failures(console, _first_failures(api, batch))
    return batch


def _followed(api: Watched, batch_id: str, console: Console) -> Snapshot:
    with showing(console) as show:
        for snapshot in watch(api, batch_id):
            show(snapshot)
    return snapshot


def _first_failures(api: Api, batch: Snapshot) -> list[MessageRow]:
    states = [state for state in _FAILURE_STATES if batch.counts.get(state)]
    return [row for state in states for row in api.messages(batch.batch_id, state, _FAILURES_SHOWN)]


def _not_posted(error: CtlError | KeyboardInterrupt, batch: BatchRequest, accepted: list[str], key: str) -> CtlError:
    said = refusal(error, batch.lines) if isinstance(error, Refused) else str(error) or "stopped while posting"
    if accepted:
        said += f"\n  accepted before that: {', '.join(accepted)}"
    nothing_arrived = isinstance(error, Refused) and error.status < 500 and not error.may_pass and not accepted
    return CtlError(said) if nothing_arrived else MaybePosted(said, key)
