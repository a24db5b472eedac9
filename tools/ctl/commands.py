"""The commands of smsctl, but for the templates."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from shared.domain.options import OnUnknown
from shared.management import NotAsked, management_api
from shared.policy_watch import look_at_policies
from shared.settings import Settings, load
from shared.topology import Lane
from tools.ctl.audit import audit
from tools.ctl.batches import sample as sample_batch
from tools.ctl.batches.commands import cancel, pause, resume
from tools.ctl.batches.encodings import decode
from tools.ctl.batches.recipients import RecipientList, read_recipients
from tools.ctl.batches.report import refusal, terminal
from tools.ctl.batches.requests import BatchRequest, build_requests
from tools.ctl.batches.resending import resend
from tools.ctl.batches.sending import follow_all, note, open_api, post_all, report, show_status
from tools.ctl.batches.times import known_zone, read_time, shown
from tools.ctl.broker import declare_all, differences
from tools.ctl.dead_letters.commands import app as dead_letters_app
from tools.ctl.doctor import doctor
from tools.ctl.doctoring.findings import Kind, count, not_checked
from tools.ctl.doctoring.policies import named
from tools.ctl.errors import CtlError, MaybePosted, Refused, UsageError
from tools.ctl.files import read_bytes
from tools.ctl.inbound import app as inbound_app
from tools.ctl.provider import app as provider_app
from tools.ctl.providers import app as providers_app
from tools.ctl.settings import load_ctl_settings
from tools.ctl.suppressions import app as suppressions_app
from tools.ctl.templates import app as templates_app
from tools.ctl.unknown import app as unknown_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Send batches of text messages, watch them, and look after the system behind.",
)
app.add_typer(templates_app, name="templates")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(unknown_app, name="unknown")
app.add_typer(suppressions_app, name="suppressions")
app.add_typer(inbound_app, name="inbound")
app.add_typer(provider_app, name="provider")
app.add_typer(providers_app, name="providers")
app.command()(audit)
app.command()(doctor)
for command in (pause, resume, cancel, resend):
    app.command()(command)


_KEY = re.compile("[!-~]{1,240}")  # the api takes 255; part numbers come behind


Follow = Annotated[bool, typer.Option(help="Show the progress to the end.")]


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="CSV with a column to, mobile or phone; - for standard input.")],
    *,
    content: Annotated[str | None, typer.Option(help="The text, with $name for a column's value.")] = None,
    template: Annotated[
        int | None, typer.Option(min=1, help="A template's id; --content is then the fallback.")
    ] = None,
    lane: Annotated[Lane | None, typer.Option(help="Which queue; bulk where not given.")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own name for the batch.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="A label, by which batches are found again; may be repeated.")
    ] = None,
    send_at: Annotated[
        str | None, typer.Option(help="When to begin, as 2030-01-31T08:00+08:00, or without the offset.")
    ] = None,
    expires_at: Annotated[str | None, typer.Option(help="When to give up what is not sent by then.")] = None,
    zone: Annotated[
        str | None,
        typer.Option(
            help="Of times without an offset, such as Asia/Shanghai; SMS_ZONE's or this machine's if not given."
        ),
    ] = None,
    on_unknown: Annotated[
        OnUnknown | None, typer.Option(help="For what may have been sent; hold where not given.")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The key of an earlier try of the same command.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The file's encoding, where it is neither UTF-8 nor Chinese, such as cp1252.")
    ] = None,
    follow: Follow = True,
) -> None:
    """Send a text to every recipient in a CSV file; the other columns are the recipients' variables."""
    if content is None and template is None:
        raise UsageError("give --content, --template, or both")
    members = {
        "content": content,
        "template_id": template,
        "lane": lane,
        "reference": reference,
        "tags": tag,
        "send_at": _time("send-at", send_at, zone),
        "expires_at": _time("expires-at", expires_at, zone),
        "on_unknown": on_unknown,
    }
    given = {name: value for name, value in members.items() if value is not None}
    batches = _batches(file, given, encoding)
    console, api = terminal(), open_api()
    try:
        batch_ids = post_all(api.post_batch, batches, _key(idempotency_key), console)
    except MaybePosted as error:
        raise CtlError(f"{error}\n  the same command with --idempotency-key {error.key} sends nothing twice") from None
    if send_at is not None:
        note(f"to watch it when its time comes: smsctl status {batch_ids[0]} --follow")
    elif follow:
        report(console, follow_all(api, batch_ids, console))


@app.command()
def status(
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Show the progress to the end first.")] = False,
) -> None:
    """Show a batch's counts, and the first of its failures with the reasons."""
    console, api = terminal(), open_api()
    try:
        if follow:
            follow_all(api, [batch], console)
        show_status(api, batch, console)
    except Refused as error:
        raise CtlError(refusal(error)) from None


@app.command()
def sample(
    *,
    recipients: Annotated[int, typer.Option(min=sample_batch.FEWEST, max=sample_batch.MOST)] = 2000,
    follow: Follow = True,
) -> None:
    """Send a batch in which everything happens that can, to the simulator."""
    numbers = sample_batch.sample_recipients(recipients)
    body = orjson.dumps({"recipients": numbers, "content": sample_batch.CONTENT, "reference": "sample"})
    console, api = terminal(), open_api()
    batch_ids = post_all(api.post_batch, [BatchRequest(body, [])], None, console)
    if not follow:
        return
    ended = follow_all(api, batch_ids, console)
    report(console, ended)
    console.print(_explained(recipients))
    if (counted := sum(ended[-1].counts.values())) != recipients:
        raise CtlError(f"the counts add up to {counted}, and {recipients} recipients were given")


@app.command()
def topology(
    *, check: Annotated[bool, typer.Option("--check", help="Only say how the broker differs.")] = False
) -> None:
    """Declare every exchange, queue and binding on the broker (SMS_AMQP_URL, SMS_RETRY_TIERS_S)."""
    settings = load(Settings)
    urls, wanted = settings.amqp_url.get_secret_value(), settings.topology
    size = f"{len(wanted.exchanges)} exchanges, {len(wanted.queues)} queues"
    console = terminal()
    if not check:
        declare_all(urls, wanted)
        console.print(f"the broker has all of it: {size}, {len(wanted.bindings)} bindings")
        return
    different = differences(urls, wanted)
    for sentence in different:
        console.print(sentence, soft_wrap=True)
    harmful = _harmful_policies(settings, console)
    if different:
        raise CtlError(f"the broker differs in {len(different)} of {size}")
    if harmful:
        raise CtlError(f"the broker has {size} as they should be, and {harmful} what they do")
    console.print(f"as it should be: {size}; bindings cannot be read over AMQP, smsctl topology declares them again")


def _harmful_policies(settings: Settings, console: Console) -> str:
    """Say which policies change what the queues do; how many there are, nothing where there is none."""
    try:
        findings = named(asyncio.run(look_at_policies(management_api(settings), settings.topology)))
    except NotAsked as error:
        findings = [not_checked("policies", str(error))]
    for finding in findings:
        console.print(finding.lines, soft_wrap=True)
    wrong = sum(finding.kind is Kind.WRONG for finding in findings)
    return count(wrong, "policy that changes", "policies that change") if wrong else ""


def _batches(file: Path, members: Mapping[str, Any], encoding: str | None) -> list[BatchRequest]:
    """The file's batches; what is left out of them is said, and how it was read where that was not plain UTF-8."""
    text, used = decode(read_bytes(file), encoding)
    given = read_recipients(text)
    if used not in ("utf-8", "utf-8-sig"):
        note(f"read as {used}; the first recipient's columns: {_first(given)}")
    if given.left_out:
        note(
            "columns left out, as no variable can have their name (letters, digits, _ . and -): "
            f"{', '.join(given.left_out)}"
        )
    batches, left_out = build_requests(given, members, load_ctl_settings().default_region)
    if left_out:
        note(f"{left_out} rows are left out: an earlier one of the {len(batches)} batches has the number already")
    return batches


def _first(given: RecipientList) -> str:
    values = given.recipients[0].variables.values()
    return ", ".join(value for value in values if value) or "none but the number"


def _key(given: str | None) -> str | None:
    if given is not None and not _KEY.fullmatch(given):
        raise UsageError("an idempotency key has 1 to 240 printable ASCII characters, no spaces")
    return given


def _time(option: str, text: str | None, zone: str | None) -> str | None:
    """A time as the contract wants it; before anything is sent it is shown as it is understood."""
    if text is None:
        return None
    try:
        its_zone = known_zone(zone) if zone else load_ctl_settings().zone
    except ValueError as error:
        raise UsageError(f"--zone: {error}") from None
    when = read_time(text, its_zone)
    note(f"{option}: {shown(when)}")
    return when.isoformat()


def _explained(recipients: int) -> Table:
    table = Table("numbers", "look like", "end as", "because", title="what the sample is made of")
    for group, size in sample_batch.composition(recipients).items():
        table.add_row(str(size), group.looks, group.ends, group.why)
    return table
