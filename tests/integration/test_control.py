"""Pausing, resuming and cancelling: in the ledger, over HTTP, and with the services at work."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from services.api.serving.pages import next_cursor
from shared.clock import now_ms
from shared.domain.message import Key
from shared.domain.outcome import Outcome
from shared.domain.recovery import decide_recovery
from shared.domain.states import BatchState, State
from shared.ids import new_batch_id
from shared.ledger.control import ControlLedger
from shared.ledger.database import Database
from shared.ledger.feeding import FeedingLedger
from shared.ledger.intake import Content, IntakeLedger, NewRow
from shared.ledger.reading import BatchView, ReadingLedger
from shared.ledger.recovery import RecoveryLedger
from shared.ledger.sending import Recorded, SendingLedger
from shared.messages import BatchMessage
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for

COMMANDS = ("pause", "resume", "cancel")


def numbers(count: int) -> list[str]:
    """Numbers that the simulator has no special ending for."""
    return [f"+86138{n // 9000:04d}{n % 9000:04d}" for n in range(count)]


# The ledger


def a_batch(recipients: int, **fields: object) -> BatchMessage:
    values = {"batch_id": new_batch_id(now_ms()), "fingerprint": "f", "accepted_at_ms": now_ms()}
    return BatchMessage.model_validate({**values, "recipients": numbers(recipients), **fields})


def rows_of(batch: BatchMessage) -> list[NewRow]:
    return [NewRow(str(number), State.PENDING, segments=1) for number in batch.recipients]


async def written(database: Database, batch: BatchMessage) -> BatchMessage:
    intake = IntakeLedger(database)
    progress = await intake.begin(batch, Content("text", "text"), None)
    assert await intake.write(batch.batch_id, progress, rows_of(batch), now_ms())
    return batch


async def view(database: Database, batch: BatchMessage) -> BatchView:
    found = await ReadingLedger(database).batch(batch.batch_id)
    assert found is not None
    return found


async def states(database: Database, batch: BatchMessage) -> dict[str, int]:
    """The rows themselves, counted."""
    found: dict[str, int] = {}
    for message in await ReadingLedger(database).messages(batch.batch_id, 100_000):
        found[message.state] = found.get(message.state, 0) + 1
    return found


async def claimed(database: Database, batch: BatchMessage, *rows: int) -> list[Key]:
    claims = await SendingLedger(database).claim({(batch.batch_id, row): 0 for row in rows}, "token", now_ms())
    return list(claims.ours)


async def recorded(database: Database, batch: BatchMessage, row: int, state: State) -> None:
    outcome = Outcome(state, "code", "reason")
    await SendingLedger(database).record([Recorded(batch.batch_id, row, 1, outcome)], now_ms())


async def test_of_a_paused_batch_nothing_is_claimed_fed_or_leased_until_it_is_resumed(database: Database) -> None:
    batch = await written(database, a_batch(3))
    control, feeding, now = ControlLedger(database), FeedingLedger(database), now_ms()
    assert len(await feeding.lease("one", now, 1000)) == 1
    assert await control.pause(batch.batch_id) is BatchState.PAUSED
    assert await claimed(database, batch, 0, 1, 2) == []
    assert await feeding.pending(batch.batch_id, -1, 10) == []
    assert await feeding.lease("one", now, 1000) == []
    assert await feeding.lease("two", now + 10_000, 1000) == []
    assert await control.resume(batch.batch_id) is BatchState.RUNNING
    assert [row.row for row in await feeding.pending(batch.batch_id, -1, 10)] == [0, 1, 2]
    assert len(await feeding.lease("one", now + 10_000, 1000)) == 1
    assert len(await claimed(database, batch, 0, 1, 2)) == 3


async def test_a_batch_waits_for_its_send_at_again_when_it_is_resumed(database: Database) -> None:
    later = await written(database, a_batch(1, send_at_ms=now_ms() + 60_000))
    control = ControlLedger(database)
    assert await control.pause(later.batch_id) is BatchState.PAUSED
    assert await control.resume(later.batch_id) is BatchState.SCHEDULED
    due = await written(database, a_batch(1, accepted_at_ms=1, send_at_ms=now_ms() - 1))
    assert await control.pause(due.batch_id) is BatchState.PAUSED
    assert await control.resume(due.batch_id) is BatchState.RUNNING


async def test_what_is_with_a_sender_ends_as_it_ends_and_a_paused_batch_with_nothing_left_is_finished(
    database: Database,
) -> None:
    batch = await written(database, a_batch(2))
    await claimed(database, batch, 0, 1)
    control = ControlLedger(database)
    await control.pause(batch.batch_id)
    await recorded(database, batch, 0, State.SENT)
    assert (await view(database, batch)).status == "paused"
    await recorded(database, batch, 1, State.FAILED)
    ended = await view(database, batch)
    assert (ended.status, ended.counts) == ("finished", {"sent": 1, "failed": 1})
    assert ended.finished_at_ms
    assert await control.resume(batch.batch_id) is BatchState.FINISHED


async def test_a_cancel_ends_what_has_not_begun_and_leaves_what_has(database: Database) -> None:
    batch = await written(database, a_batch(5))
    feeding, control = FeedingLedger(database), ControlLedger(database)
    pending = await feeding.pending(batch.batch_id, -1, 4)
    await feeding.mark_queued(batch.batch_id, pending, now_ms())
    await claimed(database, batch, 0, 1, 2)
    await recorded(database, batch, 0, State.SENT)
    await recorded(database, batch, 1, State.RETRYING)
    assert await control.cancel(batch.batch_id) is BatchState.CANCELLED
    under_way = await view(database, batch)
    assert under_way.counts == {"sent": 1, "sending": 1, "cancelled": 3} == await states(database, batch)
    assert under_way.finished_at_ms is None
    await recorded(database, batch, 2, State.SENT)
    ended = await view(database, batch)
    assert (ended.status, ended.counts) == ("cancelled", {"sent": 2, "cancelled": 3})
    assert ended.finished_at_ms
    assert await claimed(database, batch, 3, 4) == []


async def test_a_repeated_cancel_ends_what_came_back_to_be_tried_again(database: Database) -> None:
    batch = await written(database, a_batch(2))
    control = ControlLedger(database)
    await claimed(database, batch, 0)
    await control.cancel(batch.batch_id)
    await recorded(database, batch, 0, State.RETRYING)
    assert (await view(database, batch)).counts == {"retrying": 1, "cancelled": 1}
    assert await control.cancel(batch.batch_id) is BatchState.CANCELLED
    assert (await view(database, batch)).counts == {"cancelled": 2} == await states(database, batch)
    assert await control.cancel(batch.batch_id) is BatchState.CANCELLED


async def test_a_number_that_may_have_been_sent_and_was_to_be_sent_again_is_unknown(database: Database) -> None:
    batch = await written(database, a_batch(1, on_unknown="resend"))
    await claimed(database, batch, 0)
    outcome = Outcome(State.RETRYING, "timeout", "No answer", unclear=True)
    await SendingLedger(database).record([Recorded(batch.batch_id, 0, 1, outcome)], now_ms())
    await ControlLedger(database).cancel(batch.batch_id)
    # Left to who can publish its letter: the sender that gets its message, or the dispatcher's recovery.
    assert (await view(database, batch)).counts == {"retrying": 1}
    (unsettled,) = await RecoveryLedger(database).unsettled()
    (row,) = await RecoveryLedger(database).still(unsettled, now_ms() + 1, -1, 10)
    outcome = decide_recovery(row, unsettled)
    assert (outcome.state, outcome.code) == (State.UNKNOWN, "cancelled")
    assert outcome.reason == "The batch was cancelled; an earlier attempt may have been sent"
    assert await RecoveryLedger(database).move(batch.batch_id, [(row, outcome)], now_ms()) == 1
    assert (await view(database, batch)).counts == {"unknown": 1} == await states(database, batch)


async def test_more_rows_than_a_chunk_are_cancelled_and_no_other_batchs(database: Database) -> None:
    batch, other = await written(database, a_batch(2500)), await written(database, a_batch(3))
    await claimed(database, batch, *range(0, 2500, 7))
    await ControlLedger(database).cancel(batch.batch_id)
    under_way = len(range(0, 2500, 7))
    expected = {"sending": under_way, "cancelled": 2500 - under_way}
    assert (await view(database, batch)).counts == expected == await states(database, batch)
    assert (await view(database, other)).counts == {"pending": 3}


async def test_rows_that_are_written_after_the_cancel_are_written_as_cancelled(database: Database) -> None:
    batch, intake = a_batch(4), IntakeLedger(database)
    progress = await intake.begin(batch, Content("text", "text"), None)
    assert await intake.write(batch.batch_id, progress, rows_of(batch)[:2], now_ms())
    assert await ControlLedger(database).cancel(batch.batch_id) is BatchState.CANCELLED
    assert (await view(database, batch)).counts == {"pending": 2, "cancelled": 2}
    rest = [rows_of(batch)[2], NewRow("1", State.INVALID)]
    assert await intake.write(batch.batch_id, progress.after(2), rest, now_ms())
    ended = await view(database, batch)
    assert ended.counts == {"cancelled": 3, "invalid": 1} == await states(database, batch)
    assert ended.finished_at_ms


async def test_a_cancelled_batch_that_failed_as_a_whole_is_not_begun_anew(database: Database) -> None:
    batch, intake = a_batch(2), IntakeLedger(database)
    await intake.begin(batch, None, ("template_unknown", "There is no template 9"))
    await ControlLedger(database).cancel(batch.batch_id)
    progress = await intake.begin(batch, Content("now there is one", "now there is one"), None)
    assert progress.content is None
    assert await intake.write(batch.batch_id, progress, rows_of(batch), now_ms())
    ended = await view(database, batch)
    assert (ended.status, ended.counts) == ("cancelled", {"cancelled": 2})


async def test_a_row_that_came_back_from_a_paused_queue_is_not_marked_queued_with_its_neighbours(
    database: Database,
) -> None:
    batch = await written(database, a_batch(3))
    feeding, sending = FeedingLedger(database), SendingLedger(database)
    await feeding.mark_queued(batch.batch_id, [(await feeding.pending(batch.batch_id, -1, 9))[1]], now_ms())
    published = await feeding.pending(batch.batch_id, -1, 9)
    assert [row.row for row in published] == [0, 2]
    await ControlLedger(database).pause(batch.batch_id)
    (row,) = (await sending.claim({(batch.batch_id, 1): 0}, "token", now_ms())).others.values()
    await sending.move([(row, Outcome(State.PENDING))], now_ms())
    await feeding.mark_queued(batch.batch_id, published, now_ms())
    found = await ReadingLedger(database).messages(batch.batch_id, 10)
    assert [message.state for message in found] == ["queued", "pending", "queued"]


async def test_a_row_that_was_tried_meanwhile_is_not_marked_queued_by_an_older_publish(database: Database) -> None:
    batch = await written(database, a_batch(1))
    feeding, sending = FeedingLedger(database), SendingLedger(database)
    published = await feeding.pending(batch.batch_id, -1, 9)
    await claimed(database, batch, 0)
    await recorded(database, batch, 0, State.RETRYING)
    await ControlLedger(database).pause(batch.batch_id)
    (row,) = (await sending.claim({(batch.batch_id, 0): 1}, "token", now_ms())).others.values()
    await sending.move([(row, Outcome(State.PENDING))], now_ms())
    await feeding.mark_queued(batch.batch_id, published, now_ms())
    assert (await view(database, batch)).counts == {"pending": 1}


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_batch_that_is_not_there_is_none(database: Database, command: str) -> None:
    assert await getattr(ControlLedger(database), command)(new_batch_id(1)) is None


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_finished_batch_stays_finished(database: Database, command: str) -> None:
    batch = await written(database, a_batch(1))
    await FeedingLedger(database).expire(batch.batch_id, now_ms())
    before = await view(database, batch)
    assert await getattr(ControlLedger(database), command)(batch.batch_id) is BatchState.FINISHED
    assert await view(database, batch) == before


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_cancelled_batch_stays_cancelled(database: Database, command: str) -> None:
    batch = await written(database, a_batch(1))
    await ControlLedger(database).cancel(batch.batch_id)
    assert await getattr(ControlLedger(database), command)(batch.batch_id) is BatchState.CANCELLED


async def test_commands_beside_busy_senders_keep_counters_and_rows_equal(database: Database) -> None:
    batch = await written(database, a_batch(3000))
    control, keys = ControlLedger(database), [(batch.batch_id, row) for row in range(3000)]

    async def send(sender: int) -> None:
        ledger, order = SendingLedger(database), random.Random(sender)
        for number in range(40):
            part = order.sample(keys, 60)
            ours = (await ledger.claim(dict.fromkeys(part, 0), f"{sender}-{number}", now_ms())).ours.values()
            outcomes = [Outcome(order.choice([State.SENT, State.RETRYING])) for _ in ours]
            done = [Recorded(row.batch_id, row.row, row.attempt, o) for row, o in zip(ours, outcomes, strict=True)]
            await ledger.record(done, now_ms())

    async def command() -> None:
        for _ in range(5):
            await control.pause(batch.batch_id)
            await control.resume(batch.batch_id)
        await control.cancel(batch.batch_id)

    await asyncio.gather(*(send(sender) for sender in range(3)), command())
    await control.cancel(batch.batch_id)
    ended = await view(database, batch)
    assert ended.counts == await states(database, batch)
    assert set(ended.counts) <= {"sent", "cancelled"}
    assert sum(ended.counts.values()) == 3000


# Over HTTP


@pytest.fixture
def trio(vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    return Trio(vhost, simulator, settings_for(vhost, postgres_url, simulator), start).up()


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def asked(api: ServiceProcess, batch_id: str, command: str) -> requests.Response:
    return requests.post(f"{api.url}/v1/batches/{batch_id}/{command}", timeout=30)


def test_a_batch_is_answered_as_a_get_shows_it_and_is_fresh_in_redis(
    vhost: Vhost, sqlite_url: str, redis_url: str, simulator: ServiceProcess, start: Start
) -> None:
    settings = {**settings_for(vhost, sqlite_url, simulator), "SMS_REDIS_URL": redis_url}
    trio = Trio(vhost, simulator, settings, start).up(senders=0)
    batch_id = trio.post(numbers(3), send_at=in_an_hour())
    eventually(lambda: trio.batch(batch_id)["status"] == "scheduled")
    for command, status in (("pause", "paused"), ("pause", "paused"), ("resume", "scheduled"), ("cancel", "cancelled")):
        after = trio.control(batch_id, command)
        assert after["status"] == status
        assert trio.batch(batch_id) == after
    assert after["counts"] == {"cancelled": 3}
    for command in ("pause", "resume"):
        refused = asked(trio.api, batch_id, command)
        assert (refused.status_code, refused.headers["Content-Type"]) == (409, "application/problem+json")
        assert refused.json()["detail"] == f"The batch is cancelled: it cannot be {command.rstrip('e')}ed any more."
    assert trio.control(batch_id, "cancel")["status"] == "cancelled"
    metrics = requests.get(f"{trio.api.url}/metrics", timeout=30).text
    assert 'route="/v1/batches/{batch_id}/pause",status="200"' in metrics


@pytest.mark.parametrize("command", COMMANDS)
def test_a_batch_that_nobody_has_written_yet_is_409_with_a_pause_and_a_finished_one_is_409(
    trio: Trio, command: str
) -> None:
    finished = trio.post(numbers(1))
    assert trio.finished(finished) == {"sent": 1}
    refused = asked(trio.api, finished, command)
    assert (refused.status_code, "Retry-After" in refused.headers) == (409, False)
    assert "finished" in refused.json()["detail"]
    trio.dispatcher.stop()
    accepted = trio.post(numbers(1))
    refused = asked(trio.api, accepted, command)
    assert (refused.status_code, refused.headers["Retry-After"]) == (409, "1")


# With the services at work


def called(trio: Trio, batch_id: str) -> int:
    return sum(trio.provider_calls(batch_id).values())


def stands_still(trio: Trio, batch_id: str) -> None:
    """What was under way has ended, and then the provider hears nothing of the batch any more."""
    time.sleep(1)  # a claim that saw the batch run is committed by now
    eventually(lambda: "sending" not in trio.batch(batch_id)["counts"])
    before = called(trio, batch_id)
    time.sleep(3)  # several turns of the dispatcher, and every retry tier
    assert called(trio, batch_id) == before


def test_a_paused_batch_calls_nobody_and_holds_up_nobody_and_a_resumed_one_goes_out_once(trio: Trio) -> None:
    trio.misbehave("slow", delay_s=0.2)
    batch_id = trio.post(numbers(5000))
    eventually(lambda: called(trio, batch_id) > 300)
    assert trio.control(batch_id, "pause")["status"] == "paused"
    stands_still(trio, batch_id)
    assert eventually(lambda: trio.depths()["sms.outbound.bulk"] == 0)
    assert trio.batch(batch_id)["status"] == "paused"
    assert trio.finished(trio.post(numbers(10))) == {"sent": 10}
    assert called(trio, batch_id) < 5000
    assert trio.control(batch_id, "resume")["status"] == "running"
    assert trio.finished(batch_id, 120) == {"sent": 5000}
    assert trio.provider_calls(batch_id) == {f"{batch_id}:{row}": 1 for row in range(5000)}


def test_a_cancelled_batch_ends_with_what_was_sent_before(trio: Trio) -> None:
    trio.misbehave("slow", delay_s=0.2)
    batch_id = trio.post(numbers(5000))
    eventually(lambda: called(trio, batch_id) > 300)
    assert trio.control(batch_id, "cancel")["status"] == "cancelled"
    counts = trio.finished(batch_id)
    assert counts["sent"] + counts["cancelled"] == 5000
    assert counts["cancelled"] > 1000
    stands_still(trio, batch_id)
    sent = {f"{batch_id}:{message['row']}" for message in trio.messages(batch_id, state="sent")}
    assert trio.provider_calls(batch_id) == dict.fromkeys(sent, 1)
    assert trio.finished(batch_id) == counts
    eventually(lambda: not any(trio.depths().values()))


def test_numbers_that_wait_for_another_try_are_cancelled_too(trio: Trio) -> None:
    trio.misbehave("throttle", retry_after_s=8)  # longer than it takes to see that they wait, and to cancel
    batch_id = trio.post(numbers(15))
    eventually(lambda: trio.batch(batch_id)["counts"].get("retrying"))
    trio.control(batch_id, "cancel")
    trio.misbehave("accept")
    assert trio.finished(batch_id)["cancelled"] > 0
    eventually(lambda: not any(trio.depths().values()))
    cancelled = trio.messages(batch_id, state="cancelled")
    calls = trio.provider_calls(batch_id)
    assert {calls.get(f"{batch_id}:{message['row']}", 0) - message["attempts"] for message in cancelled} == {0}
    assert trio.provider_accepted(batch_id).keys().isdisjoint(f"{batch_id}:{m['row']}" for m in cancelled)


def test_a_batch_that_is_cancelled_before_its_send_at_is_never_sent(trio: Trio) -> None:
    send_at = datetime.now(UTC) + timedelta(seconds=6)
    batch_id = trio.post(numbers(50), send_at=send_at.isoformat())
    eventually(lambda: trio.batch(batch_id)["status"] == "scheduled")
    trio.control(batch_id, "cancel")
    # Those that the dispatcher has not written yet are written as cancelled.
    eventually(lambda: trio.batch(batch_id)["counts"] == {"cancelled": 50})
    eventually(lambda: datetime.now(UTC) > send_at)
    stands_still(trio, batch_id)
    assert called(trio, batch_id) == 0


def last_row_is_written(trio: Trio, batch_id: str, recipients: int) -> bool:
    path = f"{trio.api.url}/v1/batches/{batch_id}/messages"
    query = {"limit": "1", "cursor": next_cursor(recipients - 2)}
    return bool(requests.get(path, params=query, timeout=30).json()["messages"])


@pytest.mark.parametrize("command", [pytest.param("pause", marks=pytest.mark.large), "cancel"])
def test_a_command_that_comes_while_the_rows_are_written_holds_for_all_of_them(trio: Trio, command: str) -> None:
    batch_id = trio.post(numbers(100_000))
    eventually(lambda: trio.batch(batch_id)["status"] == "running", pause_s=0.01)
    trio.control(batch_id, command)
    assert not last_row_is_written(trio, batch_id, 100_000)
    eventually(lambda: last_row_is_written(trio, batch_id, 100_000), 120)
    if command == "pause":
        stands_still(trio, batch_id)
        before = called(trio, batch_id)
        trio.control(batch_id, "resume")
        eventually(lambda: called(trio, batch_id) > before)
        assert trio.control(batch_id, "cancel")["counts"]["cancelled"] > 0
    counts = trio.finished(batch_id, 120)
    assert counts.get("sent", 0) + counts["cancelled"] == 100_000
    assert set(counts) <= {"sent", "cancelled"}
    assert trio.provider_calls(batch_id).keys() == {
        f"{batch_id}:{message['row']}" for message in trio.messages(batch_id, state="sent")
    }


def test_commands_at_random_while_a_sender_dies_and_the_dispatcher_is_restarted(trio: Trio) -> None:
    order = random.Random(1)
    trio.misbehave("slow", delay_s=0.05)
    batch_ids = [trio.post(numbers(3000)) for _ in range(3)]
    eventually(lambda: all(trio.batch(batch_id)["status"] == "running" for batch_id in batch_ids))
    faults = {4: trio.senders[0].kill, 5: trio.senders[0].start, 8: trio.dispatcher.stop, 9: trio.dispatcher.start}
    for turn in range(12):
        asked(trio.api, order.choice(batch_ids), order.choice(["pause", "resume"]))
        faults.get(turn, lambda: None)()
        time.sleep(order.uniform(0, 0.5))
    asked(trio.api, batch_ids[0], "cancel")
    for batch_id in batch_ids[1:]:
        asked(trio.api, batch_id, "resume")
    for batch_id in batch_ids:
        counts, calls = trio.finished(batch_id, 120), trio.provider_calls(batch_id)
        assert set(counts) <= {"sent", "unknown", "cancelled"}
        assert sum(counts.values()) == 3000
        assert set(calls.values()) <= {1}
        never = {f"{batch_id}:{message['row']}" for message in trio.messages(batch_id, state="cancelled")}
        assert never.isdisjoint(calls)
        assert batch_id == batch_ids[0] or not never
