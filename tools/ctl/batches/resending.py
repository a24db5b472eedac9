"""The command `smsctl resend`."""

import secrets
from enum import StrEnum
from typing import Annotated

import orjson
import typer

from tools.ctl.batches.report import refusal, terminal
from tools.ctl.batches.sending import follow_all, note, open_api, report
from tools.ctl.errors import CtlError, Refused, Unreachable


class Resendable(StrEnum):
    """States whose numbers have no text: certainly not sent, or not delivered as the provider says."""

    FAILED = "failed"
    EXPIRED = "expired"
    UNDELIVERED = "undelivered"


_BY_ITSELF = (Resendable.FAILED, Resendable.EXPIRED)
"""What did not arrive would mostly not arrive again."""


def resend(
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    *,
    state: Annotated[
        list[Resendable] | None,
        typer.Option(help="Which of its numbers; may be repeated. Where not given: failed and expired."),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Show the progress to the end.")] = True,
) -> None:
    """Send the failed and expired numbers of a batch again, in a new batch; nothing twice, however often it is run."""
    body = orjson.dumps({"states": sorted(set(state or _BY_ITSELF))})
    console, api = terminal(), open_api()
    try:
        accepted = api.resend(batch, body, secrets.token_hex(16), note)
    except Refused as error:
        raise CtlError(refusal(error)) from None
    except Unreachable as error:
        raise CtlError(f"{error}\n  the same command again sends nothing twice") from None
    console.print(f"batch {accepted.batch_id}: accepted, {accepted.recipients} recipients of {batch}", soft_wrap=True)
    if follow:
        report(console, follow_all(api, [accepted.batch_id], console))
