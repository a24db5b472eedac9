"""A night on call: three thousand dead letters of eight kinds, dealt with by the commands of docs/runbook.md."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pytest

from shared.clock import now_ms
from shared.domain.message import message_id
from shared.ids import new_batch_id
from shared.messages import OUTBOUND_TYPE, outbound_body
from shared.topology import DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, OUTBOUND, UNKNOWN_QUEUE
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for
from tools.ctl.__main__ import main

Ctl = Callable[..., str]
TEMPLATE = 7


@dataclass(frozen=True)
class Night:
    """How many of each kind."""

    unreachable: int
    for_another_batch: int
    tried_in_vain: int
    late: int
    cut_off: int
    foreign: int
    batches: int
    in_a_batch: int = 2


QUIET = Night(120, 30, 200, 15, 15, 30, 5)
LONG = Night(1700, 300, 800, 15, 15, 300, 100)
"""More than three thousand dead letters; those that are unclear are fewer than open a sender's circuit."""


@pytest.fixture
def trio(vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    settings = {**settings_for(vhost, postgres_url, simulator), "SMS_PREFETCH": "500"}
    return Trio(vhost, simulator, settings, start).up()


@pytest.fixture
def ctl(trio: Trio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Run a command of smsctl, which has to succeed; what it said."""
    for name, value in {**trio.settings, "SMS_API_URL": trio.api.url}.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        assert not ended.value.code, said
        return said.out

    return run


def numbers(count: int, *, prefix: str = "138", ending: str = "") -> list[str]:
    digits = 8 - len(ending)
    return [f"+86{prefix}{number:0{digits}d}{ending}" for number in range(count)]


def posted(trio: Trio, recipients: list[str], **fields: Any) -> str:
    batch_id = trio.post(recipients, **fields)
    trio.finished(batch_id, 120)
    return batch_id


def publish(trio: Trio, bodies: Iterable[tuple[str, bytes]]) -> None:
    with pika.BlockingConnection(pika.URLParameters(trio.vhost.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for name, body in bodies:
            properties = pika.BasicProperties(type=OUTBOUND_TYPE, message_id=name, delivery_mode=2)
            channel.basic_publish(OUTBOUND, "bulk", body, properties, mandatory=True)


def turns(batch_id: str, count: int, attempt: int) -> Iterable[tuple[str, bytes]]:
    for row in range(count):
        yield message_id(batch_id, row), outbound_body(batch_id, row, attempt, "+86138****0000", "bulk")


def groups(ctl: Ctl) -> dict[str, int]:
    return {group["code"]: group["letters"] for group in json.loads(ctl("dead-letters", "list", "--json"))}


@pytest.mark.parametrize("night", [QUIET, pytest.param(LONG, marks=pytest.mark.large)], ids=["quiet", "long"])
def test_a_night_on_call(trio: Trio, ctl: Ctl, tmp_path: Path, night: Night) -> None:
    # What went wrong.
    sent = posted(trio, numbers(night.foreign, prefix="139"))
    trio.misbehave("503", share=0.5)  # a sixteenth fails four times
    in_vain = posted(trio, numbers(night.tried_in_vain, prefix="135"))
    hopeless = trio.finished(in_vain)["failed"]
    assert hopeless
    trio.misbehave("accept")
    late = posted(trio, numbers(night.late, ending="9007"))
    trio.misbehave("refuse")
    refused, to_resend = (
        posted(trio, numbers(night.unreachable)),
        posted(trio, numbers(night.for_another_batch, prefix="137")),
    )
    trio.misbehave("accept")
    cut_off = posted(trio, numbers(night.cut_off, ending="9008"))
    without_template = [
        posted(trio, numbers(night.in_a_batch, prefix="136"), content=None, template_id=TEMPLATE)
        for _ in range(night.batches)
    ]
    publish(trio, (("nobody knows", b"{nonsense") for _ in range(night.foreign)))
    publish(trio, turns(new_batch_id(now_ms()), night.foreign, 0))
    publish(trio, turns(sent, night.foreign, 9))
    expected = {
        "number_unreachable": night.unreachable + night.for_another_batch,
        "unavailable": hopeless,
        "unreadable_message": night.foreign,
        "not_in_ledger": night.foreign,
        "ahead_of_ledger": night.foreign,
        "template_unknown": night.batches,
    }
    eventually(lambda: groups(ctl) == expected, 60, 1)
    assert night is not LONG or sum(expected.values()) + night.late + night.cut_off > 3000

    # The provider is well again: what it refused meanwhile is sent.
    assert f"{night.unreachable} would be sent again" in ctl("dead-letters", "replay", refused, "--dry-run")
    assert f"{night.unreachable} sent again" in ctl("dead-letters", "replay", refused, "--rate", "0")
    assert trio.finished(refused, 120) == {"sent": night.unreachable}

    # One batch is sent again as another one, whose text can be told apart; its letters are stale then.
    resent = ctl("resend", to_resend)
    (again,) = (batch_id for batch_id in linked(trio, to_resend))
    assert again in resent
    assert trio.finished(again, 120) == {"sent": night.for_another_batch}
    said = ctl("dead-letters", "replay", to_resend)
    assert f"{night.for_another_batch} taken out, for they are stale: sent again in another batch" in said

    # Templates that somebody forgot.
    ctl("templates", "add", "forgotten", "Hello", "--id", str(TEMPLATE))
    assert f"{night.batches} sent again" in ctl("dead-letters", "replay", "--batches", "--all")
    for batch_id in without_template:
        eventually(lambda one=batch_id: trio.finished(one) == {"sent": night.in_a_batch}, 60)

    # Numbers that never work, and messages that are nobody's: written to a file, then thrown away.
    table = tmp_path / "letters.csv"
    ctl("dead-letters", "export", str(table))
    with table.open() as stream:
        assert Counter(row["code"] for row in csv.DictReader(stream)) == {
            code: expected[code] for code in ("unavailable", "unreadable_message", "not_in_ledger", "ahead_of_ledger")
        }
    assert f"{night.foreign} left: the ledger has no such number" in ctl("dead-letters", "replay", "--all", "--dry-run")
    for code in ("unavailable", "unreadable_message", "not_in_ledger", "ahead_of_ledger"):
        said = ctl("dead-letters", "discard", "--code", code, "--reason", "nothing will come of them", "--yes")
        assert f"{expected[code]} thrown away" in said
    failed = trio.messages(in_vain, state="failed")[0]["row"]
    assert "nothing will come of them" in ctl("dead-letters", "show", f"{in_vain}:{failed}")

    # The provider says that it had the unclear ones.
    ctl("unknown", "resolve", late, "--as", "sent")
    ctl("unknown", "resolve", cut_off, "--as", "sent")

    # All is well, and nobody had a second text.
    assert ctl("dead-letters", "list") == "no dead letter\n"
    ctl("audit", "--simulator", trio.simulator.url)
    assert {queue: trio.depths()[queue] for queue in (DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, UNKNOWN_QUEUE)} == {
        DEAD_LETTER: 0,
        DEAD_LETTER_BATCHES_QUEUE: 0,
        UNKNOWN_QUEUE: 0,
    }
    accepted = {
        **{batch_id: night.in_a_batch for batch_id in without_template},
        sent: night.foreign,
        refused: night.unreachable,
    }
    accepted |= {again: night.for_another_batch, late: night.late, cut_off: night.cut_off, to_resend: 0}
    for batch_id, count in accepted.items():
        assert trio.provider_accepted(batch_id) == {message_id(batch_id, row): 1 for row in range(count)}


def linked(trio: Trio, batch_id: str) -> list[str]:
    """The batches that a batch's numbers are sent again in."""
    return sorted({message["resent_in"] for message in trio.messages(batch_id) if message["resent_in"]})
