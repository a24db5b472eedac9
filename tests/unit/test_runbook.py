"""What the on-call's page says can be typed, followed and seen: commands, sections, links, images, alerts."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tools.ctl.commands import app

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "runbook.md").read_text()
RULES = DOCS.parent / "deploy/prometheus/rules.yml"
SECTIONS = {
    "dead-letters-grow",
    "batch-dead-letters",
    "oldest-unsent",
    "unknown-outcomes",
    "circuit-open",
    "provider-held",
    "clock-wrong",
    "publishes-unconfirmed",
    "ledger-waits",
    "recovered",
    "part-down",
}
"""What alerts, dashboards and people's bookmarks point at: these never change."""
LARGEST_IMAGE_BYTES = 150_000

_FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IN_A_LINE = re.compile(r"`(smsctl [^`]+)`")
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


def commands() -> Iterator[str]:
    """Every command that begins with smsctl, in the text and in the blocks; not what only names one."""
    yield from _IN_A_LINE.findall(_FENCED.sub("", PAGE))
    for block in _FENCED.findall(PAGE):
        lines = (line.removeprefix("$ ") for line in block.splitlines())
        yield from (line for line in lines if line.startswith("smsctl "))


def words(command: str) -> list[str]:
    """A command's words as the shell reads them, up to a comment, a pipe or a redirection."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found = list(lexer)[1:]
    return found[: next((place for place, word in enumerate(found) if word in {"|", ">", ">>", ";", "&&"}), None)]


def parse(arguments: list[str]) -> None:
    """Have the command line read them, without running anything; it raises where it would refuse them."""
    command: Any = typer.main.get_command(app)
    name = "smsctl"
    while subcommands := getattr(command, "commands", None):
        name, *arguments = arguments
        command = subcommands[name]
    if arguments:
        command.make_context(name, arguments)


def anchors(text: str) -> list[str]:
    """The anchors that a page's headings have on GitHub."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return [_NOT_IN_ANCHORS.sub("", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_is_one(command: str) -> None:
    parse(words(command))


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("smsctl repair", "repair"),
        ("smsctl dead-letters replay --everything", "No such option"),
        ("smsctl status BATCH BATCH", "unexpected extra argument"),
        ("smsctl unknown resolve BATCH --as gone", "'gone' is not one of"),
        ("smsctl dead-letters discard --all", "Missing (option|parameter)"),
    ],
)
def test_what_is_no_command_would_be_noticed(command: str, complaint: str) -> None:
    with pytest.raises(Exception, match=complaint):
        parse(words(command))


def test_the_commands_are_found() -> None:
    found = {tuple(words(command)[:2]) for command in commands()}
    assert {("dead-letters", "replay"), ("unknown", "resolve"), ("doctor",), ("doctor", "--fix")} <= found


def test_the_sections_that_others_point_at_are_there() -> None:
    assert set(anchors(PAGE)) >= SECTIONS
    assert len(anchors(PAGE)) == len(set(anchors(PAGE)))


def test_every_link_leads_somewhere() -> None:
    links = _LINK.findall(PAGE)
    assert len(links) > 20
    for path, anchor in links:
        target = DOCS / path if path else DOCS / "runbook.md"
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target.read_text()), f"{path}#{anchor}"


def test_every_image_is_small() -> None:
    images = [DOCS / path for path, _ in _LINK.findall(PAGE) if path.endswith(".png")]
    assert len(images) >= 3
    assert all(image.stat().st_size < LARGEST_IMAGE_BYTES for image in images)


def test_every_alert_is_in_the_table_and_points_at_a_section() -> None:
    rules = RULES.read_text()
    alerts = re.findall(r"alert: (\w+)", rules)
    assert alerts
    assert [alert for alert in alerts if f"*{alert}*" not in PAGE] == []
    assert set(re.findall(r"docs/runbook\.md#([\w-]+)", rules)) <= set(anchors(PAGE))
