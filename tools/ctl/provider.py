"""The command `smsctl provider resume`: what an operator decides about a provider, straight in the ledger."""

import asyncio
from typing import Annotated

import typer

from shared.ledger.provider_gates import ProviderGates
from shared.settings import Settings, load
from tools.ctl.ledger import opened

app = typer.Typer(no_args_is_help=True, help="The provider, as all senders deal with it.")


@app.callback()
def _group() -> None:
    """The provider, as all senders deal with it."""


@app.command()
def resume(name: Annotated[str, typer.Argument(help="The provider's name.")] = "default") -> None:
    """End the pause that the provider asked for: senders call it again within a second, one number at a time until one
    is taken."""

    async def lift() -> bool:
        async with opened(load(Settings).database_url) as database:
            return await ProviderGates(database).resume(name)

    was_held = asyncio.run(lift())
    typer.echo(f"{name} is called again" if was_held else f"{name} was in no pause")
