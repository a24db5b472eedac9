"""A batch's fuse: messages that are refused one after another because of the content pause their batch."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.clock import now_ms
from shared.domain.outcome import Outcome
from shared.domain.states import State
from shared.ledger.control import ControlLedger
from shared.ledger.database import Database
from shared.ledger.fuse import NEVER, Fuse
from shared.ledger.reading import BatchView, ReadingLedger
from shared.ledger.sending import Recorded, SendingLedger
from shared.messages import BatchMessage
from tests.conftest import Start
from tests.integration.test_ledger import a_batch, written
from tests.integration.test_recovery import plain
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for
from tools.simulator.vendors import TOKEN

FUSE = Fuse(first=5, later=8)
WRONG = Outcome(State.FAILED, "21603", "A From is needed", about_content=True)
OTHERWISE_WRONG = WRONG._replace(code="21617")
NUMBER = Outcome(State.FAILED, "21211", "No such number")
SENT = Outcome(State.SENT)


async def view_of(database: Database, batch: BatchMessage) -> BatchView:
    view = await ReadingLedger(database).batch(batch.batch_id)
    assert view is not None
    return view


async def ended(database: Database, batch: BatchMessage, first: int, outcomes: Sequence[Outcome]) -> bool:
    """Claim the next rows and record these outcomes at once; whether the fuse has blown."""
    ledger = SendingLedger(database, fuse=FUSE)
    rows = range(first, first + len(outcomes))
    await ledger.claim({(batch.batch_id, row): 0 for row in rows}, f"token-{first}", now_ms())
    records = [Recorded(batch.batch_id, row, 1, outcome) for row, outcome in zip(rows, outcomes, strict=True)]
    return bool(await ledger.record(records, now_ms()))


@pytest.mark.on_each
async def test_a_batch_whose_first_messages_are_all_refused_for_its_content_pauses_itself(database: Database) -> None:
    batch = await written(database, a_batch(20))
    assert not await ended(database, batch, 0, [WRONG] * 4)
    assert (await view_of(database, batch)).status == "running"
    assert await ended(database, batch, 4, [WRONG])
    view = await view_of(database, batch)
    assert (view.status, view.paused_by) == ("paused", "fuse")
    assert view.paused_reason == "5 messages in a row were refused because of the content: 21603"
    assert view.counts == {"failed": 5, "pending": 15}


@pytest.mark.on_each
async def test_one_that_is_sent_breaks_the_row(database: Database) -> None:
    batch = await written(database, a_batch(20))
    assert not await ended(database, batch, 0, [WRONG] * 4)
    assert not await ended(database, batch, 4, [SENT])
    assert not await ended(database, batch, 5, [WRONG] * 4)
    assert (await view_of(database, batch)).status == "running"


@pytest.mark.on_each
@pytest.mark.parametrize("between", [NUMBER, OTHERWISE_WRONG], ids=["number", "another code"])
async def test_what_is_refused_otherwise_does_not(database: Database, between: Outcome) -> None:
    batch = await written(database, a_batch(20))
    assert not await ended(database, batch, 0, [WRONG, between, WRONG])
    assert not await ended(database, batch, 3, [between])
    assert await ended(database, batch, 4, [WRONG] * 3)


@pytest.mark.on_each
async def test_later_on_it_takes_more_of_them(database: Database) -> None:
    batch = await written(database, a_batch(20))
    assert not await ended(database, batch, 0, [SENT])
    assert not await ended(database, batch, 1, [WRONG] * 7)
    assert await ended(database, batch, 8, [WRONG])


@pytest.mark.on_each
async def test_a_resumed_batch_goes_on_and_may_pause_itself_again(database: Database) -> None:
    batch = await written(database, a_batch(40))
    assert await ended(database, batch, 0, [WRONG] * 6)
    await ControlLedger(database).resume(batch.batch_id)
    view = await view_of(database, batch)
    assert (view.status, view.paused_by, view.paused_reason) == ("running", None, None)
    assert not await ended(database, batch, 6, [WRONG] * 7)
    assert await ended(database, batch, 13, [WRONG])


@pytest.mark.on_each
async def test_a_fuse_of_none_never_blows_and_a_batch_that_is_through_is_not_paused(database: Database) -> None:
    batch = await written(database, a_batch(30))
    ledger = SendingLedger(database, fuse=NEVER)
    await ledger.claim({(batch.batch_id, row): 0 for row in range(20)}, "token", now_ms())
    assert not await ledger.record([Recorded(batch.batch_id, row, 1, WRONG) for row in range(20)], now_ms())
    small = await written(database, a_batch(5))
    assert not await ended(database, small, 0, [WRONG] * 5)
    assert (await view_of(database, small)).status == "finished"


@pytest.mark.on_each
async def test_an_operators_pause_is_told_from_it(database: Database) -> None:
    batch = await written(database, a_batch(1))
    await ControlLedger(database).pause(batch.batch_id)
    view = await view_of(database, batch)
    assert (view.status, view.paused_by, view.paused_reason) == ("paused", "operator", None)


def test_a_wrong_template_burns_a_few_numbers_of_many_and_the_rest_goes_out_when_it_is_right(
    vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(f"""
[providers.default]
type = "http"
endpoint = "{simulator.url}/messages"
allow_http = true
headers = {{ Authorization = "Bearer $secret.key" }}
fields = {{ reference = "$reference", to = "$to", text = "$text" }}
secrets = {{ key = "env:VENDOR_KEY" }}
answer = {{ id = "message_id", code = "code", message = "message" }}
codes = {{ content = ["number_unreachable"] }}
""")
    settings = settings_for(vhost, database_url, simulator)
    settings |= {"SMS_PROVIDERS_FILE": str(file), "VENDOR_KEY": TOKEN, "SMS_PREFETCH": "50"}
    trio = Trio(vhost, simulator, settings, start).up(senders=2)
    trio.misbehave("refuse")
    batch_id = trio.post(plain(2000))
    eventually(lambda: trio.batch(batch_id)["status"] == "paused")
    batch = trio.batch(batch_id)
    assert batch["paused_by"] == "fuse"
    assert "refused because of the content: number_unreachable" in batch["paused_reason"]
    assert '"paused_by":"fuse"' in "".join(sender.log for sender in trio.senders)
    trio.misbehave("accept")
    trio.control(batch_id, "resume")
    counts = trio.finished(batch_id)
    assert set(counts) == {"sent", "failed"}
    assert 50 <= counts["failed"] <= 50 + 2 * 2 * 50  # and what two senders had under way in their two lanes
