"""The commands `smsctl templates add` and `smsctl templates list`: straight to the ledger."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template as Text
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from shared.clock import now_ms
from shared.domain.segments import count_segments
from shared.ledger.database import Database
from shared.ledger.templates import Template, TemplateLedger
from shared.settings import Settings, load
from tools.ctl.batches.encodings import decode
from tools.ctl.batches.report import terminal
from tools.ctl.errors import UsageError
from tools.ctl.files import read_bytes

LONGEST_CONTENT = 5000

app = typer.Typer(no_args_is_help=True, help="The templates that batches name by their id.")

Answer = TypeVar("Answer")


@app.command()
def add(
    name: str,
    content: Annotated[str | None, typer.Argument(help="The text, with $name for a recipient's variable.")] = None,
    file: Annotated[Path | None, typer.Option(help="Read the text from this file; - for standard input.")] = None,
    template_id: Annotated[int | None, typer.Option("--id", min=1, help="The id to keep it under.")] = None,
) -> None:
    """Keep a template."""
    text = _text(content, file)
    added = _with_templates(lambda templates: templates.add(name, text, now_ms(), template_id))
    terminal().print(f"template {added.id} {added.name!r}: {_described(added)}")


@app.command("list")
def show() -> None:
    """Show every template."""
    table = Table("id", "name", "variables", "content")
    for template in _with_templates(lambda templates: templates.all()):
        table.add_row(str(template.id), template.name, ", ".join(_variables(template)), template.content)
    terminal().print(table)


def _text(content: str | None, file: Path | None) -> str:
    if (content is None) == (file is None):
        raise UsageError("give the template's text or --file, one of them")
    text = content if file is None else decode(read_bytes(file)).text.rstrip("\r\n")
    if not text or len(text) > LONGEST_CONTENT:
        raise UsageError(f"a template has 1 to {LONGEST_CONTENT} characters")
    if not Text(text).is_valid():
        raise UsageError("the template has a lone $: write $name or ${name} for a variable, $$ for a dollar sign")
    return text


def _described(template: Template) -> str:
    segments = count_segments(template.content).segments
    variables = ", ".join(f"${name}" for name in _variables(template)) or "no variables"
    return f"{segments} segment{'s' if segments > 1 else ''} before variables are filled in; {variables}"


def _variables(template: Template) -> list[str]:
    return Text(template.content).get_identifiers()


def _with_templates(ask: Callable[[TemplateLedger], Awaitable[Answer]]) -> Answer:
    async def asked() -> Answer:
        async with _ledger(load(Settings).database_url.get_secret_value()) as templates:
            return await ask(templates)

    return asyncio.run(asked())


@asynccontextmanager
async def _ledger(url: str) -> AsyncIterator[TemplateLedger]:
    database = Database(url)
    try:
        await database.migrate()
        yield TemplateLedger(database)
    finally:
        await database.close()
