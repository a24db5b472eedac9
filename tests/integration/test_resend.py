"""Sending failed and expired numbers again: in the ledger, over HTTP, and with the services at work. Nobody gets a
second text, whatever is repeated, run at once, killed or moved back."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from shared.clock import now_ms
from shared.domain.message import Key
from shared.domain.outcome import Outcome
from shared.domain.stale import Step, decide_stale
from shared.domain.states import State
from shared.errors import NothingToResend
from shared.ids import new_batch_id
from shared.ledger.control import ControlLedger
from shared.ledger.database import Database
from shared.ledger.feeding import FeedingLedger
from shared.ledger.intake import Content, IntakeLedger, NewRow
from shared.ledger.reading import BatchView, MessageView, ReadingLedger
from shared.ledger.recovery import RecoveryLedger
from shared.ledger.resending import Resend, ResendLedger, Resent
from shared.ledger.sending import Recorded, SendingLedger
from shared.messages import BatchMessage, OutboundMessage
from shared.topology import DeadLetterKey
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.handmade_ledger import HandmadeLedger, put_letters
from tests.support.ledger import ask
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import TIERS_S, Trio, settings_for
from tools.ctl.__main__ import main

BOTH = frozenset({State.FAILED, State.EXPIRED})


def numbers(count: int) -> list[str]:
    """Numbers that the simulator has no special ending for."""
    return [f"+86138{n // 9000:04d}{n % 9000:04d}" for n in range(count)]


# The ledger


def a_batch(recipients: int, **fields: object) -> BatchMessage:
    values = {"batch_id": new_batch_id(now_ms()), "fingerprint": "f", "accepted_at_ms": now_ms()}
    return BatchMessage.model_validate({**values, "recipients": numbers(recipients), **fields})


async def ended(
    database: Database, states: Sequence[State], texts: Sequence[str | None] = (), **fields: object
) -> BatchMessage:
    """A batch whose numbers have each come into these states by a call."""
    batch = a_batch(len(states), **fields)
    intake, sending = IntakeLedger(database), SendingLedger(database, batch.provider)
    progress = await intake.begin(batch, Content("for $all", "for $all"), None)
    rows = [NewRow(number, State.PENDING, segments=1) for number in numbers(len(states))]
    rows = [row._replace(text=text, segments=2) for row, text in zip(rows, texts, strict=True)] if texts else rows
    assert await intake.write(batch.batch_id, progress, rows, now_ms())
    await sending.claim({(batch.batch_id, row): 0 for row in range(len(states))}, "token", now_ms())
    outcomes = [Outcome(state, "code", "reason") for state in states]
    await sending.record([Recorded(batch.batch_id, row, 1, outcome) for row, outcome in enumerate(outcomes)], now_ms())
    return batch


def of(batch: BatchMessage, states: frozenset[State] = BOTH, **fields: Any) -> Resend:
    return Resend(batch.batch_id, new_batch_id(now_ms()), "fingerprint", states, **fields)


async def view(database: Database, batch_id: str) -> BatchView:
    found = await ReadingLedger(database).batch(batch_id)
    assert found is not None
    return found


async def rows_of(database: Database, batch_id: str) -> list[MessageView]:
    return await ReadingLedger(database).messages(batch_id, 100_000)


async def resent(database: Database, wanted: Resend) -> Resent | None:
    """What a resend comes to; None where there is nothing (left)."""
    try:
        return await ResendLedger(database).resend(wanted)
    except NothingToResend:
        return None


async def test_the_numbers_in_these_states_are_a_batch_of_their_own_with_their_texts(database: Database) -> None:
    states = [State.SENT, State.FAILED, State.UNKNOWN, State.EXPIRED, State.FAILED]
    options = {"lane": "priority", "provider": "p", "on_unknown": "resend", "reference": "spring", "tags": ["双十一"]}
    texts = ["a", "$own {b}", "c", None, "一二三"]
    old = await ended(database, states, texts, **options, expires_at_ms=now_ms() + 60_000)
    wanted = of(old)
    before = now_ms()
    assert await ResendLedger(database).resend(wanted) == Resent("fingerprint", 3, is_new=True)
    new = await view(database, wanted.new_id)
    assert (new.status, new.counts, new.recipients, new.resend_of) == ("running", {"pending": 3}, 3, old.batch_id)
    assert new.options == options
    assert (new.send_at_ms, new.expires_at_ms, new.finished_at_ms, new.error_code) == (None, None, None, None)
    assert new.accepted_at_ms >= before
    given = numbers(5)
    assert [row.recipient for row in await rows_of(database, wanted.new_id)] == [given[1], given[3], given[4]]
    claims = await SendingLedger(database, "p").claim({(wanted.new_id, row): 0 for row in range(3)}, "b", now_ms())
    assert [row.text for row in claims.ours.values()] == ["$own {b}", "for $all", "一二三"]
    assert all(row.may_resend and not row.was_unclear for row in claims.ours.values())
    left = await view(database, old.batch_id)
    assert (left.counts, left.status, left.resend_of) == (
        {"sent": 1, "failed": 2, "unknown": 1, "expired": 1}, "finished", None,
    )  # fmt: skip
    marks = [row.resent_in for row in await rows_of(database, old.batch_id)]
    assert marks == [None, wanted.new_id, None, wanted.new_id, wanted.new_id]


async def test_only_the_states_that_are_asked_for_and_then_the_rest(database: Database) -> None:
    old = await ended(database, [State.FAILED, State.EXPIRED, State.FAILED])
    assert await resent(database, of(old, frozenset({State.EXPIRED}))) == Resent("fingerprint", 1, is_new=True)
    assert await resent(database, of(old, BOTH)) == Resent("fingerprint", 2, is_new=True)
    assert await resent(database, of(old, BOTH)) is None


async def test_a_batch_to_be_sent_later_waits_for_its_time(database: Database) -> None:
    old = await ended(database, [State.FAILED])
    later = now_ms() + 60_000
    wanted = of(old, send_at_ms=later, expires_at_ms=later + 1)
    await ResendLedger(database).resend(wanted)
    new = await view(database, wanted.new_id)
    assert (new.status, new.send_at_ms, new.expires_at_ms) == ("scheduled", later, later + 1)
    feeding = FeedingLedger(database)
    assert await feeding.lease("one", now_ms(), 1000) == []
    assert [batch.batch_id for batch in await feeding.lease("one", later, 1000)] == [wanted.new_id]


async def test_a_number_that_is_sent_again_elsewhere_is_never_claimed_here(database: Database) -> None:
    old = await ended(database, [State.FAILED, State.EXPIRED])
    await ResendLedger(database).resend(of(old))
    sending = SendingLedger(database)
    for attempt in (0, 1, 2):
        attempts: dict[Key, int] = {(old.batch_id, row): attempt for row in range(2)}
        claims = await sending.claim(attempts, "b", now_ms())
        aside = await sending.record_without_call(attempts, Outcome(State.RETRYING, "x", "y"), now_ms())
        assert (claims.ours, aside.ours) == ({}, {})
        message = OutboundMessage(batch_id=old.batch_id, row=0, attempt=min(attempt, 1))
        assert decide_stale(message.attempt, claims.others[old.batch_id, 0], now_ms(), 1000).step is Step.SKIP
    assert (await view(database, old.batch_id)).counts == {"failed": 1, "expired": 1}


async def test_a_failed_number_that_a_paused_batch_was_about_to_take_back_stays_where_it_is(database: Database) -> None:
    old = await ended(database, [State.FAILED, State.RETRYING])
    await ControlLedger(database).pause(old.batch_id)
    sending = SendingLedger(database)
    (row,) = (await sending.claim({(old.batch_id, 0): 1}, "b", now_ms())).others.values()
    assert decide_stale(1, row, now_ms(), 1000).step is Step.PARK
    wanted = of(old)
    await ResendLedger(database).resend(wanted)
    assert await sending.move([(row, Outcome(State.PENDING))], now_ms()) == set()
    await ControlLedger(database).resume(old.batch_id)
    assert await FeedingLedger(database).pending(old.batch_id, -1, 10) == []
    unsettled = {batch.batch_id: batch for batch in await RecoveryLedger(database).unsettled()}
    still = await RecoveryLedger(database).still(unsettled[old.batch_id], now_ms() + 1, -1, 10)
    assert [row.row for row in still] == [1]
    assert [row.row for row in await FeedingLedger(database).pending(wanted.new_id, -1, 10)] == [0]


async def test_a_number_whose_letter_was_moved_back_and_is_in_a_call_is_left_alone(database: Database) -> None:
    old = await ended(database, [State.FAILED, State.FAILED])
    assert (await SendingLedger(database).claim({(old.batch_id, 0): 1}, "b", now_ms())).ours
    wanted = of(old)
    assert await resent(database, wanted) == Resent("fingerprint", 1, is_new=True)
    assert [row.resent_in for row in await rows_of(database, old.batch_id)] == [None, wanted.new_id]


async def test_of_many_at_once_each_number_goes_into_one_batch(database: Database) -> None:
    states = [State.FAILED, State.EXPIRED, State.SENT] * 400
    old = await ended(database, states)
    wanted = [of(old, frozenset(some)) for some in ([State.FAILED], [State.EXPIRED], BOTH, BOTH, [State.FAILED])]
    results = await asyncio.gather(*(resent(database, each) for each in wanted))
    made = [each.new_id for each, result in zip(wanted, results, strict=True) if result]
    assert sum(result.recipients for result in results if result) == 800
    again = Counter([row.recipient for batch_id in made for row in await rows_of(database, batch_id)])
    expected = [n for n, state in zip(numbers(1200), states, strict=True) if state is not State.SENT]
    assert again == Counter(expected)
    assert {(await view(database, batch_id)).resend_of for batch_id in made} == {old.batch_id}


async def test_of_many_at_once_under_one_id_one_makes_it(database: Database) -> None:
    old = await ended(database, [State.FAILED] * 30)
    wanted = of(old)
    results = await asyncio.gather(*(ResendLedger(database).resend(wanted) for _ in range(6)))
    assert Counter(results) == {
        Resent("fingerprint", 30, is_new=True): 1,
        Resent("fingerprint", 30, is_new=False): 5,
    }
    assert (await view(database, wanted.new_id)).counts == {"pending": 30}


async def test_an_id_that_another_request_has_is_left_alone_and_nothing_is_marked(database: Database) -> None:
    first, second = await ended(database, [State.FAILED]), await ended(database, [State.FAILED] * 2)
    wanted = of(first)
    await ResendLedger(database).resend(wanted)
    other = replace(wanted, batch_id=second.batch_id, fingerprint="another")
    assert await ResendLedger(database).resend(other) == Resent("fingerprint", 1, is_new=False)
    assert [row.resent_in for row in await rows_of(database, second.batch_id)] == [None, None]


async def test_beside_senders_that_get_dead_letters_back_each_number_is_claimed_or_sent_again(
    database: Database,
) -> None:
    old = await ended(database, [State.FAILED] * 1500)
    claimed: list[int] = []

    async def send(sender: int) -> None:
        ledger, order = SendingLedger(database), random.Random(sender)
        for number in range(15):
            attempts: dict[Key, int] = {(old.batch_id, row): 1 for row in order.sample(range(1500), 40)}
            claims = await ledger.claim(attempts, f"{sender}-{number}", now_ms())
            claimed.extend(row for _batch, row in claims.ours)
            done = [Recorded(row.batch_id, row.row, row.attempt, Outcome(State.SENT)) for row in claims.ours.values()]
            await ledger.record(done, now_ms())

    wanted = [of(old), of(old)]

    async def resend(each: Resend) -> None:
        await asyncio.sleep(0.05)
        await resent(database, each)

    await asyncio.gather(*(send(sender) for sender in range(3)), *(resend(each) for each in wanted))
    rows = await rows_of(database, old.batch_id)
    taken = [row.row for row in rows if row.resent_in]
    assert sorted(claimed + taken) == list(range(1500))
    assert taken
    counts = Counter(row.state for row in rows)
    assert (await view(database, old.batch_id)).counts == counts
    assert counts["failed"] == len(taken)


async def test_a_number_that_fails_again_can_be_sent_again_from_its_new_batch(database: Database) -> None:
    old = await ended(database, [State.FAILED], ["its own $text"])
    second = of(old)
    await ResendLedger(database).resend(second)
    sending = SendingLedger(database)
    await sending.claim({(second.new_id, 0): 0}, "b", now_ms())
    await sending.record([Recorded(second.new_id, 0, 1, Outcome(State.FAILED, "x", "y"))], now_ms())
    assert await resent(database, of(old)) is None
    third = replace(of(old), batch_id=second.new_id)
    assert await ResendLedger(database).resend(third) == Resent("fingerprint", 1, is_new=True)
    (row,) = (await sending.claim({(third.new_id, 0): 0}, "c", now_ms())).ours.values()
    assert (row.recipient, row.text) == (numbers(1)[0], "its own $text")


async def reason(database: Database, wanted: Resend) -> str:
    with pytest.raises(NothingToResend) as refused:
        await ResendLedger(database).resend(wanted)
    return str(refused.value)


async def test_why_there_is_nothing_is_said(database: Database) -> None:
    ledger = ResendLedger(database)
    assert await ledger.resend(of(a_batch(1))) is None
    sent = await ended(database, [State.SENT])
    assert await reason(database, of(sent)) == "None of its numbers is expired or failed."
    again = await ended(database, [State.FAILED])
    first = of(again)
    await ledger.resend(first)
    said = await reason(database, of(again, frozenset({State.FAILED})))
    assert said == f"Its failed numbers are sent again already, in {first.new_id}."
    cancelled = await ended(database, [State.FAILED, State.RETRYING])
    await ControlLedger(database).cancel(cancelled.batch_id)
    assert await reason(database, of(cancelled)) == "The batch was cancelled: nothing of it is sent again."


async def test_numbers_that_never_had_a_text_or_a_row_are_not_sent_again(database: Database) -> None:
    intake = IntakeLedger(database)
    textless, lost = a_batch(2), a_batch(3)
    progress = await intake.begin(textless, None, ("template_unknown", "There is no template 9"))
    failed = [NewRow(number, State.FAILED, error_code="template_unknown") for number in numbers(2)]
    assert await intake.write(textless.batch_id, progress, failed, now_ms())
    assert "never had a text" in await reason(database, of(textless))
    await intake.begin(lost, Content("text", "text"), None)
    await intake.give_up(lost.batch_id, "batch_message_lost", "The broker lost it", now_ms())
    assert (await view(database, lost.batch_id)).counts == {"failed": 3}
    assert "3 of its numbers failed before they came into the ledger" in await reason(database, of(lost))
    # Its message may still turn up: then it is written to the end, and every number has its one text from there.
    assert (await intake.begin(lost, Content("text", "text"), None)).rows_written == 0
    assert (await view(database, lost.batch_id)).counts == {"pending": 3}


# Over HTTP and with the services at work


@pytest.fixture
def trio(vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    return Trio(vhost, simulator, settings_for(vhost, postgres_url, simulator), start).up()


def resend(api: ServiceProcess, batch_id: str, *, key: str | None = None, **body: Any) -> requests.Response:
    headers = {"Idempotency-Key": key} if key else {}
    wanted = {"states": ["failed", "expired"], **body}
    return requests.post(f"{api.url}/v1/batches/{batch_id}/resend", json=wanted, headers=headers, timeout=60)


def with_failures(trio: Trio, failing: int, **fields: Any) -> str:
    """A finished batch whose numbers the provider refused, each with its letter."""
    before = trio.depths()["sms.dead-letter"]
    trio.misbehave("refuse")
    batch_id = trio.post(numbers(failing), **fields)
    assert trio.finished(batch_id) == {"failed": failing}
    eventually(lambda: trio.depths()["sms.dead-letter"] == before + failing)
    trio.misbehave("accept")
    return batch_id


def resends_of(trio: Trio, batch_id: str) -> list[str]:
    found = ask(trio.settings["SMS_DATABASE_URL"], f"SELECT id FROM batches WHERE resend_of = '{batch_id}'")
    return [str(row[0]) for row in found]


def taken_by(trio: Trio, *batch_ids: str) -> Counter[str]:
    """How many texts the provider has taken for each number, over these batches."""
    accepted = {reference for batch_id in batch_ids for reference in trio.provider_accepted(batch_id)}
    texts = [call for batch_id in batch_ids for call in trio.provider_texts(batch_id)]
    return Counter(call["to"] for call in texts if call["reference"] in accepted)


def letters_moved_back(trio: Trio) -> int:
    """Put every dead letter back onto the outbound queue, as a person does; wait until they are settled."""
    letters = trio.take("sms.dead-letter")
    for _properties, body in letters:
        trio.publish("sms.outbound", "bulk", json.dumps(body).encode())
    eventually(lambda: not any(trio.depths().values()))
    return len(letters)


def test_the_answer_is_that_of_a_posted_batch_and_both_batches_show_the_link(trio: Trio) -> None:
    batch_id = with_failures(trio, 3, reference="spring", tags=["a"])
    answer = resend(trio.api, batch_id)
    assert answer.status_code == 202, answer.text
    new_id = answer.json()["batch_id"]
    assert answer.headers["Location"] == f"/v1/batches/{new_id}"
    assert answer.json() == {
        "success": True, "message": answer.json()["message"], "batch_id": new_id, "status": "accepted",
        "recipients": 3, "resend_of": batch_id,
        "links": {"self": f"/v1/batches/{new_id}", "messages": f"/v1/batches/{new_id}/messages",
                  "events": f"/v1/batches/{new_id}/events"},
    }  # fmt: skip
    assert trio.finished(new_id) == {"sent": 3}
    assert trio.provider_calls(new_id) == {f"{new_id}:{row}": 1 for row in range(3)}
    new, old = trio.batch(new_id), trio.batch(batch_id)
    assert (new["resend_of"], new["reference"], old["resend_of"]) == (batch_id, "spring", None)
    assert (new["tags"], old["tags"]) == (["a"], ["a"])
    assert {message["resent_in"] for message in trio.messages(batch_id)} == {new_id}
    assert {message["resent_in"] for message in trio.messages(new_id)} == {None}
    assert not any(number in trio.logs() for number in numbers(3))


def test_whatever_is_repeated_and_moved_back_every_failed_number_goes_out_once(
    vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start
) -> None:
    trio = Trio(vhost, simulator, settings_for(vhost, database_url, simulator), start).up()
    other_api = start("services.api", **trio.settings)
    batch_id = with_failures(trio, 400)
    wanted = [["failed"], ["failed", "expired"]] * 4
    with ThreadPoolExecutor(8) as pool:
        apis = [trio.api, other_api] * 4
        answers = list(pool.map(lambda api, states: resend(api, batch_id, states=states), apis, wanted))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 7}
    (accepted,) = [answer.json() for answer in answers if answer.status_code == 202]
    for refused in (answer.json() for answer in answers if answer.status_code == 409):
        assert accepted["batch_id"] in refused["detail"]
    assert resends_of(trio, batch_id) == [accepted["batch_id"]]
    assert letters_moved_back(trio) == 400
    assert trio.finished(accepted["batch_id"]) == {"sent": 400}
    assert letters_moved_back(trio) == 0
    assert trio.finished(batch_id) == {"failed": 400}
    assert set(trio.provider_calls(batch_id).values()) == {1}
    assert taken_by(trio, batch_id, accepted["batch_id"]) == Counter(numbers(400))


@pytest.mark.parametrize(
    ("key", "crash_at"),
    [
        (None, "api.resend_marked"),
        pytest.param("a-key", "api.resend_marked", marks=pytest.mark.large),
        pytest.param(None, "api.resend_committed", marks=pytest.mark.large),
        ("a-key", "api.resend_committed"),
    ],
)
def test_an_api_that_is_killed_at_any_step_and_asked_again_sends_every_number_once(
    vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start, crash_at: str, key: str | None
) -> None:
    trio = Trio(vhost, simulator, settings_for(vhost, database_url, simulator), start).up()
    batch_id = with_failures(trio, 50)
    dying = start("services.api", **trio.settings, SMS_CRASH_AT=crash_at)
    with pytest.raises(requests.ConnectionError):
        resend(dying, batch_id, key=key)
    dying.wait()
    again = [resend(trio.api, batch_id, key=key) for _ in range(3)]
    (new_id,) = resends_of(trio, batch_id)
    for answer in again:
        if answer.status_code == 202:
            assert (answer.json()["batch_id"], answer.json()["recipients"]) == (new_id, 50)
        else:
            assert answer.status_code == 409
            assert new_id in answer.json()["detail"]
    before_the_commit = crash_at == "api.resend_marked"
    accepted = 3 if key else int(before_the_commit)
    assert sum(answer.status_code == 202 for answer in again) == accepted
    assert trio.finished(new_id) == {"sent": 50}
    letters_moved_back(trio)
    assert taken_by(trio, batch_id, new_id) == Counter(numbers(50))


def test_texts_of_their_own_survive_with_every_dollar_in_them(trio: Trio) -> None:
    recipients = [
        {"to": number, "variables": {"name": f"$name {{{position}}} 5$", "text": "$text"}}
        for position, number in enumerate(numbers(5))
    ]
    trio.misbehave("refuse")
    batch_id = trio.post(recipients, content="您好 $name, $text costs $5 or $$")
    assert trio.finished(batch_id) == {"failed": 5}
    before = {call["to"]: call["text"] for call in trio.provider_texts(batch_id)}
    trio.misbehave("accept")
    new_id = resend(trio.api, batch_id).json()["batch_id"]
    assert trio.finished(new_id) == {"sent": 5}
    assert {call["to"]: call["text"] for call in trio.provider_texts(new_id)} == before
    assert before[numbers(1)[0]].startswith("您好 $name {0} 5$, $text costs")


def test_expired_numbers_go_out_once_under_a_new_deadline(trio: Trio) -> None:
    trio.misbehave("503")
    soon = datetime.now(UTC) + timedelta(seconds=2)
    batch_id = trio.post(numbers(4), expires_at=soon.isoformat())
    counts = trio.finished(batch_id)
    assert set(counts) <= {"expired", "failed"}
    trio.misbehave("accept")
    deadline = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = resend(trio.api, batch_id, expires_at=deadline)
    assert answer.status_code == 202, answer.text
    new_id = answer.json()["batch_id"]
    assert trio.finished(new_id) == {"sent": 4}
    assert datetime.fromisoformat(trio.batch(new_id)["expires_at"]).timestamp() == pytest.approx(
        datetime.fromisoformat(deadline).timestamp(), abs=0.01
    )
    assert taken_by(trio, batch_id, new_id) == Counter(numbers(4))


def test_the_failed_numbers_of_a_batch_that_still_runs_are_sent_again(trio: Trio) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    batch_id = trio.post(numbers(2), send_at=later)
    eventually(lambda: trio.batch(batch_id)["status"] == "scheduled")
    refused = resend(trio.api, batch_id)
    assert (refused.status_code, refused.json()["detail"]) == (409, "None of its numbers is expired or failed.")
    database_url = trio.settings["SMS_DATABASE_URL"]
    running = HandmadeLedger(database_url).batch([State.FAILED, State.RETRYING])
    new_id = resend(trio.api, running).json()["batch_id"]
    assert trio.finished(new_id) == {"sent": 1}
    assert trio.batch(running)["counts"] == {"failed": 1, "retrying": 1}


def test_a_key_is_for_one_request(trio: Trio) -> None:
    first, second = with_failures(trio, 2), with_failures(trio, 2)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answers = [resend(trio.api, first, key="k", send_at=later) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    for answer in (resend(trio.api, first, key="k"), resend(trio.api, second, key="k", send_at=later)):
        assert answer.status_code == 422
        assert answer.json()["detail"] == "This Idempotency-Key was used for another request"
    assert resends_of(trio, second) == []
    # A batch under the same key is another matter: it may be on its way to a ledger that does not know it yet.
    body = {"recipients": numbers(1), "content": "x"}
    posted = requests.post(f"{trio.api.url}/v1/batches", json=body, headers={"Idempotency-Key": "k"}, timeout=60)
    assert posted.status_code == 202
    assert posted.json()["batch_id"] != answers[0].json()["batch_id"]
    assert trio.finished(posted.json()["batch_id"]) == {"sent": 1}


@pytest.fixture
def books(database_url: str, vhost: Vhost, monkeypatch: pytest.MonkeyPatch) -> HandmadeLedger:
    monkeypatch.setenv("SMS_DATABASE_URL", database_url)
    monkeypatch.setenv("SMS_AMQP_URL", vhost.amqp_url)
    monkeypatch.setenv("SMS_RETRY_TIERS_S", TIERS_S)
    ctl("topology")
    return HandmadeLedger(database_url)


@pytest.fixture
def api(
    books: HandmadeLedger, vhost: Vhost, database_url: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> ServiceProcess:
    api = start("services.api", SMS_AMQP_URL=vhost.amqp_url, SMS_DATABASE_URL=database_url, SMS_RETRY_TIERS_S=TIERS_S)
    monkeypatch.setenv("SMS_API_URL", api.url)
    return api


def ctl(*arguments: str) -> int:
    try:
        main(arguments)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"states": ["failed", "unknown"]}, "/states/1", "smsctl unknown resolve"),
        ({"states": ["sent"]}, "/states/0", "Only failed, expired and undelivered numbers"),
        ({"states": [["failed"]]}, "/states/0", "Only failed, expired and undelivered numbers"),
        ({"states": []}, "/states", "at least 1 item"),
        ({"states": None}, "/states", "list"),
        ({"states": ["failed"], "send_at": "tomorrow"}, "/send_at", "RFC 3339"),
        ({"states": ["failed"], "expires_at": "2001-01-01T00:00:00Z"}, "/expires_at", "in the past"),
        (
            {"states": ["failed"], "send_at": "2030-01-02T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z"},
            "",
            "later than send_at",
        ),
        ({"states": ["failed"], "content": "another"}, "/content", "Unknown member content"),
    ],
)
def test_a_flaw_is_422_with_a_pointer_to_it_and_marks_nothing(
    api: ServiceProcess, books: HandmadeLedger, body: dict[str, Any], pointer: str, detail: str
) -> None:
    batch_id = books.batch([State.FAILED])
    refused = resend(api, batch_id, **body)
    assert (refused.status_code, refused.headers["Content-Type"]) == (422, "application/problem+json")
    (flaw,) = refused.json()["errors"]
    assert flaw["pointer"] == pointer
    assert detail in flaw["detail"]
    assert books.rows(batch_id, "resent_in") == [(None,)]


def test_what_is_no_such_request_is_a_problem_too(api: ServiceProcess, books: HandmadeLedger) -> None:
    place = f"{api.url}/v1/batches/{books.batch([State.FAILED])}/resend"
    json_type = {"Content-Type": "application/json"}
    for body, headers, status in (
        (b"{", json_type, 400), (b"[]", json_type, 422), (b"states=failed", {}, 415), (b" " * 20_000, json_type, 413),
    ):  # fmt: skip
        refused = requests.post(place, data=body, headers=headers, timeout=30)
        assert (refused.status_code, refused.headers["Content-Type"]) == (status, "application/problem+json")
    assert resend(api, "nobody-gave-this-out").status_code == 404
    not_yet = resend(api, new_batch_id(now_ms()))
    assert (not_yet.status_code, not_yet.headers["Retry-After"]) == (409, "1")
    nothing = resend(api, books.batch([State.SENT, State.UNKNOWN]))
    assert (nothing.status_code, "Retry-After" in nothing.headers) == (409, False)


def test_without_a_ledger_it_is_503_with_a_pause(vhost: Vhost, start: Start) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": "postgresql://sms:sms@127.0.0.1:1/sms"}
    api = start("services.api", wait=False, **settings)
    eventually(lambda: "listening" in api.log)
    refused = resend(api, new_batch_id(now_ms()), key="k")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")


def test_an_audit_has_nothing_to_say_of_resent_numbers_with_a_letter_or_without(
    api: ServiceProcess, books: HandmadeLedger, vhost: Vhost, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = books.batch([State.SENT, State.FAILED, State.FAILED, State.EXPIRED])
    put_letters(vhost, DeadLetterKey.OUTBOUND, [f"{batch_id}:1"])
    assert ctl("audit", batch_id) == 0
    assert "its letter is not in" in capsys.readouterr().out
    new_id = resend(api, batch_id).json()["batch_id"]
    # Long enough ago to have had its letter.
    books.execute("UPDATE messages SET updated_at_ms = updated_at_ms - 60000 WHERE batch_id = :id", id=batch_id)
    capsys.readouterr()
    assert ctl("audit", "--strict", batch_id) == 0
    assert "0 discrepancies, 0 notes" in capsys.readouterr().out
    assert ctl("audit", new_id) == 0


def test_the_command_sends_both_states_or_one_and_names_the_new_batch(
    api: ServiceProcess, books: HandmadeLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = books.batch([State.FAILED, State.EXPIRED, State.EXPIRED, State.SENT])
    assert ctl("resend", batch_id, "--state", "failed", "--no-follow") == 0
    assert "accepted, 1 recipients" in capsys.readouterr().out
    assert ctl("resend", batch_id, "--no-follow") == 0
    new_id = capsys.readouterr().out.split()[1].rstrip(":")
    assert books.of_batch(new_id, "recipients, n_pending") == (2, 2)
    assert ctl("status", new_id) == 0
    assert f"resend of: {batch_id}" in capsys.readouterr().out
    assert ctl("resend", batch_id) == 1
    said = capsys.readouterr().err
    assert "sent again already" in said
    assert "trying again" not in said
    assert new_id in said
    assert ctl("resend", batch_id, "--state", "unknown") == 2
