"""The commands `smsctl providers …`: how the providers stand, what goes where, and a word to one of them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.table import Table

from shared.domain.phone import InvalidNumber, normalise
from shared.domain.routing import ANY_PROVIDER, streams_of, why_not
from shared.domain.states import ACCEPTED
from shared.ledger.database import Database
from shared.ledger.provider_gates import ProviderGates
from shared.ledger.provider_reloads import ProviderReloads
from shared.ledger.provider_senders import ProviderSenders
from shared.providers import Providers, read_providers
from shared.settings import Settings, load
from shared.topology import Lane
from tools.ctl.api import Api
from tools.ctl.batches.report import refusal, terminal
from tools.ctl.batches.requests import BatchRequest
from tools.ctl.batches.sending import follow_all, open_api, post_all, report
from tools.ctl.batches.snapshots import ProviderState
from tools.ctl.errors import CtlError, Refused, UsageError
from tools.ctl.ledger import opened
from tools.ctl.settings import load_ctl_settings

_TEST_CONTENT = "Test"
_NOT_LOOKED_AT = "accounts and secrets were not looked at: a sender checks them when it starts"

app = typer.Typer(no_args_is_help=True, help="The providers: how they stand, and what goes where.")

Name = Annotated[str, typer.Argument(help="The provider's name.")]


@app.callback()
def _group() -> None:
    """The providers: how they stand, and what goes where."""


@app.command("list")
def list_all(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """Show each provider with its state, its routes, and what the senders do with it."""
    providers = _stand(open_api())
    if as_json:
        print(orjson.dumps([each.model_dump() for each in providers]).decode())
    else:
        terminal().print(_table(providers))


@app.command()
def pause(name: Name) -> None:
    """Let nobody call a provider: what waits for it goes out by another one, or waits until it is resumed."""

    async def done(database: Database) -> bool:
        return await ProviderGates(database).pause(name)

    typer.echo(f"{name} is paused" if _in_ledger(name, done) else f"{name} was paused before")


@app.command()
def resume(name: Name) -> None:
    """End every pause of a provider: one call at a time shows whether it works."""

    async def done(database: Database) -> bool:
        return await ProviderGates(database).resume(name)

    typer.echo(f"{name} is called again" if _in_ledger(name, done) else f"{name} was in no pause")


@app.command()
def reload() -> None:
    """Have all services read SMS_PROVIDERS_FILE again: weights, lanes, prefixes, rates, templates, keys."""

    async def ask() -> None:
        async with opened(load(Settings).database_url) as database:
            await ProviderReloads(database).ask()

    asyncio.run(ask())
    typer.echo("asked for: each service logs providers_reloaded, or providers_not_reloaded with the reason")


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="The file; SMS_PROVIDERS_FILE where not given.")] = None,
    *,
    to: Annotated[list[str] | None, typer.Option(help="A number, to see where it goes; may be repeated.")] = None,
    lane: Annotated[Lane, typer.Option(help="In which lane.")] = Lane.BULK,
    template: Annotated[int | None, typer.Option(min=1, help="The batch's template.")] = None,
    provider: Annotated[str, typer.Option(help="The provider that the batch names.")] = ANY_PROVIDER,
) -> None:
    """Read a providers file, and show what goes where. Accounts and secrets are a sender's to check, at its start."""
    providers = load(Settings).all_providers if file is None else read_providers(file)
    if provider not in (ANY_PROVIDER, *providers.names):
        raise UsageError(f"there is no provider {provider}; there is {', '.join(providers.names)}")
    console = terminal()
    table = Table("name", "type", "weight", "lanes", "prefixes", "templates")
    for name, each in providers.by_name.items():
        templates = ", ".join(map(str, each.templates))
        table.add_row(name, each.type, str(each.weight), ", ".join(each.lanes), ", ".join(each.prefixes), templates)
    console.print(table)
    console.print(_NOT_LOOKED_AT)
    for number in to or ():
        console.print(f"{number}: {where(providers, number, lane, provider, template)}", soft_wrap=True)


@app.command("test")
def send_one(
    name: Name,
    *,
    to: Annotated[str, typer.Option(help="The number that gets the text.")],
    content: Annotated[str, typer.Option(help="The text.")] = _TEST_CONTENT,
    template: Annotated[int | None, typer.Option(min=1, help="A template, for a provider that takes no text.")] = None,
    variable: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, for the template; may be repeated.")] = None,
) -> None:
    """Send one text by this provider, and see what comes of it."""
    variables = dict(map(_variable, variable or ()))
    console, api = terminal(), open_api()
    _look_up(name, _stand(api))
    members: dict[str, object] = {"to": to, "content": content, "variables": variables}
    if template is not None:
        members["template_id"] = template
    post = partial(api.test_provider, name)
    ended = follow_all(api, post_all(post, [BatchRequest(orjson.dumps(members), [])], None, console), console)
    report(console, ended)
    if not any(ended[-1].counts.get(state) for state in ACCEPTED):
        raise CtlError(f"not sent; to see why: smsctl status {ended[-1].batch_id}")


def where(providers: Providers, number: str, lane: str, pin: str, template_id: int | None) -> str:
    """Where a number goes, as a sentence: the providers with their weights, or why there is none."""
    normal = normalise(number, load_ctl_settings().default_region)
    if isinstance(normal, InvalidNumber):
        return normal.reason
    for stream in streams_of(providers.routes, lane, pin, template_id):
        if stream.has(normal) and stream.routes:
            return ", ".join(f"{route.provider} (weight {route.weight})" for route in stream.routes)
    return why_not(providers.routes, lane, pin, template_id)


def _stand(api: Api) -> Sequence[ProviderState]:
    try:
        return api.providers()
    except Refused as error:
        raise CtlError(refusal(error)) from None


def _look_up(name: str, providers: Sequence[ProviderState]) -> None:
    names = [each.name for each in providers]
    if name not in names:
        raise UsageError(f"there is no provider {name}; there is {', '.join(names)}")
    if name == ANY_PROVIDER and len(names) > 1:
        raise UsageError(f"a batch that names {ANY_PROVIDER} goes out by any provider; give this one another name")


def _variable(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise UsageError(f"--variable {given}: write NAME=VALUE")
    return name, value


def _in_ledger(name: str, command: Callable[[Database], Awaitable[bool]]) -> bool:
    settings = load(Settings)

    async def run() -> bool:
        async with opened(settings.database_url) as database:
            known = _known(settings, await ProviderSenders(database).names())
            if name not in known:
                raise UsageError(f"there is no provider {name}; there is {', '.join(known)}")
            return await command(database)

    return asyncio.run(run())


def _known(settings: Settings, served: Collection[str]) -> list[str]:
    """The providers that there are: a machine that has not the file still sees whom senders serve, or served till they
    were killed."""
    from_settings = settings.all_providers.names if settings.providers_file or not served else ()
    return list(dict.fromkeys((*from_settings, *served)))


def _table(providers: Sequence[ProviderState]) -> Table:
    table = Table("name", "type", "state", "because", "weight", "lanes", "prefixes", "rate", "senders", "in flight")
    for name in ("sent/min", "failed/min"):
        table.add_column(name, justify="right")
    for each in providers:
        because = each.error_reason or each.cause or ""
        routes = str(each.weight), ", ".join(each.lanes), ", ".join(each.prefixes)
        rate = "" if each.rate is None else f"{each.rate:g}/s"
        if each.pace < 1:
            rate = f"{rate} at {each.pace:.0%}".strip()
        doing = (each.senders, each.in_flight, each.sent_last_minute, each.failed_last_minute)
        table.add_row(each.name, each.type, each.state, because, *routes, rate, *map(str, doing))
    return table
