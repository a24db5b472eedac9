"""The commands `smsctl inbound …`: texts from handsets that read like an opt-out, for a person to decide."""

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from shared.clock import now_ms
from shared.domain.phone import mask, mask_numbers_in
from shared.domain.times import rfc3339
from shared.ledger.inbound import Decision, InboundLedger
from shared.settings import Settings, load
from tools.ctl.batches.report import terminal
from tools.ctl.errors import UsageError
from tools.ctl.ledger import opened

_LONGEST_SHOWN = 160

app = typer.Typer(no_args_is_help=True, help="Texts from handsets.")


@app.command()
def review(
    *,
    opt_out: Annotated[
        list[int] | None, typer.Option(help="The id of a text that asks for no more; may be repeated.")
    ] = None,
    dismiss: Annotated[list[int] | None, typer.Option(help="The id of one that does not; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to show.")] = 50,
) -> None:
    """Show the texts that may ask for no more and match none of the words; or decide about some: their words go."""
    if set(opt_out or ()) & set(dismiss or ()):
        raise UsageError("one text cannot be both: give it to --opt-out or to --dismiss")
    asyncio.run(_review(load(Settings), opt_out or [], dismiss or [], limit))


async def _review(settings: Settings, opt_out: list[int], dismiss: list[int], limit: int) -> None:
    console = terminal()
    async with opened(settings.database_url) as database:
        ledger = InboundLedger(database)
        if opt_out:
            console.print(f"{await ledger.decide(opt_out, Decision.OPTED_OUT, now_ms())} opted out")
        if dismiss:
            console.print(f"{await ledger.decide(dismiss, Decision.DISMISSED, now_ms())} dismissed")
        if opt_out or dismiss:
            return
        table = Table("id", "from", "to", "provider", "since", "text")
        for id_, each in await ledger.undecided(limit):
            words = mask_numbers_in(each.text)[:_LONGEST_SHOWN]
            since = rfc3339(each.received_at_ms)
            table.add_row(str(id_), mask(each.recipient), each.sender_name or "(all)", each.provider, since, words)
        console.print(table)
