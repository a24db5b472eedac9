"""The commands `smsctl pause`, `smsctl resume` and `smsctl cancel`."""

from typing import Annotated

import typer

from shared.domain.states import LIVE_STATES
from tools.ctl.batches.report import print_batch, print_counts, refusal, terminal
from tools.ctl.batches.sending import note, open_api
from tools.ctl.batches.snapshots import Snapshot
from tools.ctl.errors import CtlError, Refused

Batch = Annotated[str, typer.Argument(help="The batch's id.")]


def pause(batch: Batch) -> None:
    """Begin no number of a batch any more, until it is resumed."""
    _command(batch, "pause")


def resume(batch: Batch) -> None:
    """Go on with a paused batch."""
    _command(batch, "resume")


def cancel(batch: Batch) -> None:
    """Never send what a batch has not begun; what is with the provider ends as it ends."""
    after = _command(batch, "cancel")
    if left := sum(number for state, number in after.counts.items() if state in LIVE_STATES):
        note(f"not final yet: {left}; to watch them: smsctl status {batch} --follow")


def _command(batch_id: str, command: str) -> Snapshot:
    try:
        after = open_api().control(batch_id, command)
    except Refused as error:
        raise CtlError(refusal(error)) from None
    console = terminal()
    print_batch(console, after)
    print_counts(console, after.counts)
    return after
