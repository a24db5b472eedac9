"""Numbers whose message is gone: the dispatcher finds them, and they are sent, or said to be unclear."""

import asyncio
import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import requests
from sqlalchemy import text

from shared.clock import now_ms
from shared.domain.outcome import CallResult, Verdict
from shared.domain.phone import mask
from shared.ledger.database import Database
from shared.ledger.provider_gates import Cause, ProviderGates
from shared.messages import BatchMessage
from shared.topology import Lane, outbound_queue
from tests.conftest import Start
from tests.integration.test_trio import numbers
from tests.support.brokers import Vhost
from tests.support.forking.process import outside_environment, run
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for

RECOVER_AFTER_S = "3"
THROTTLED = CallResult(Verdict.NOT_SENT, "throttled", "Later", 429)
REVOKED = CallResult(Verdict.ACCOUNT, "http_401", "Wrong key", 401)


@pytest.fixture
def trio(vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    settings = settings_for(vhost, database_url, simulator)
    return Trio(vhost, simulator, {**settings, "SMS_RECOVER_AFTER_S": RECOVER_AFTER_S}, start)


def delete_queue(trio: Trio, queue: str) -> None:
    trio.vhost.broker.api("DELETE", f"queues/{trio.vhost.name}/{queue}")


def plain(count: int) -> list[str]:
    return [number for number in numbers(2 * count) if not number[-4:].startswith("90")][:count]


def test_numbers_whose_queue_was_deleted_are_fed_again(trio: Trio) -> None:
    trio.up(senders=0)
    batch_id = trio.post(plain(500))
    eventually(lambda: trio.batch(batch_id)["counts"].get("queued") == 500)
    delete_queue(trio, "sms.outbound.bulk")
    trio.senders.append(trio.start("services.sender", **trio.settings))
    assert trio.finished(batch_id) == {"sent": 500}
    assert set(trio.provider_calls(batch_id).values()) == {1}


def test_retries_whose_queue_was_deleted_are_fed_again(trio: Trio) -> None:
    trio.settings["SMS_MAX_ATTEMPTS"] = "50"  # however late this test looks, they wait for another try
    trio.up(senders=1)
    trio.misbehave("503")
    batch_id = trio.post(plain(5))
    eventually(lambda: trio.batch(batch_id)["counts"].get("retrying") == 5)
    for tier in ("200ms", "500ms", "1s", "2s"):
        delete_queue(trio, f"sms.retry.{tier}")
    trio.misbehave("accept")
    assert trio.finished(batch_id) == {"sent": 5}


@pytest.mark.parametrize(
    ("on_unknown", "counts"),
    [("hold", {"unknown": 5}), pytest.param("resend", {"sent": 5}, marks=pytest.mark.large)],
)
def test_a_claim_whose_sender_and_message_are_gone_is_unclear(
    trio: Trio, on_unknown: str, counts: dict[str, int]
) -> None:
    trio.up(senders=1)
    assert trio.finished(trio.post(plain(1))) == {"sent": 1}  # a sender that has had no answer claims no more meanwhile
    trio.misbehave("slow", delay_s=3)
    batch_id = trio.post(recipients := plain(5), on_unknown=on_unknown)
    eventually(lambda: len(trio.provider_calls(batch_id)) == 5)
    trio.senders[0].kill()
    delete_queue(trio, "sms.outbound.bulk")
    trio.misbehave("accept")
    trio.senders[0].start()
    assert trio.finished(batch_id, 90) == counts
    letters = trio.vhost.messages("sms.unknown")
    assert len(letters) == counts.get("unknown", 0)
    for letter in letters:
        headers = letter["properties"]["headers"]
        assert headers["x-error-code"] == "sender_died"
        assert headers["x-failed-by"].startswith("dispatcher@")
        assert mask(recipients[0])[:6] in letter["payload"]


def test_a_copy_that_lives_makes_no_second_call(trio: Trio) -> None:
    trio.settings["SMS_MAX_ATTEMPTS"] = "50"  # the probes are attempts too
    trio.up(senders=1)
    trio.misbehave("503")
    batch_id = trio.post(plain(30))
    # The circuit opens; what is held for longer than half the time to recovery waits in a retry tier.
    eventually(lambda: "provider_busy" in {row["error_code"] for row in trio.messages(batch_id)}, 60)
    time.sleep(2 * float(RECOVER_AFTER_S))
    trio.misbehave("accept")
    assert trio.finished(batch_id, 90) == {"sent": 30}
    accepted = trio.provider_accepted(batch_id)
    assert len(accepted) == 30
    assert set(accepted.values()) == {1}


def test_a_batch_whose_message_is_lost_halfway_says_so_and_goes_on_where_it_turns_up(trio: Trio) -> None:
    trio.up(senders=1)
    trio.dispatcher.end()
    dying = trio.start("services.dispatcher", wait=False, **trio.settings, SMS_CRASH_AT="dispatcher.written")
    batch_id = trio.post(plain(4500))
    dying.wait()
    ((_properties, body),) = eventually(lambda: trio.take("sms.batches"))
    trio.dispatcher.start()
    counts = trio.finished(batch_id, 90)
    assert counts == {"sent": 2000, "failed": 2500}
    assert trio.batch(batch_id)["error_code"] == "batch_message_lost"
    message = BatchMessage.model_validate(body)
    trio.publish("sms.batches", "sms.batches", message.model_dump_json().encode(), type="sms.batch.v1")
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent") == 4500, 60)
    assert trio.finished(batch_id) == {"sent": 4500}
    assert trio.batch(batch_id).get("error_code") is None
    assert set(trio.provider_calls(batch_id).values()) == {1}


async def test_reserved_calls_are_apart_from_each_other_whoever_reserves(database_url: str) -> None:
    database = Database(database_url)
    await database.migrate()
    gates = [ProviderGates(database), ProviderGates(database)]
    waits = [(await gates[turn % 2].reserve("default", 100, 0.1)).wait_s for turn in range(5)]
    # A hundred calls a tenth of a second apart each time: the next begin ten seconds later, less what passed meanwhile.
    assert all(5 < later - earlier <= 10.001 for earlier, later in pairwise(waits))
    await gates[0].hold("default", 300, THROTTLED)
    await gates[1].hold("default", 50, THROTTLED)
    (held,) = await gates[1].held()
    assert held.provider == "default"
    assert 250 < held.left_s <= 300
    # Who looks at the pause reserves nothing; a call that was reserved all the same waits for its turn only.
    assert (await gates[1].reserve("default", 1, 0.1)).wait_s < 100
    await database.close()


async def test_no_call_is_put_off_beyond_a_pause_that_is_lifted(database: Database) -> None:
    gates = ProviderGates(database)
    await gates.reserve("default", 1, 0.1)
    await gates.hold("default", 300, REVOKED)
    await gates.reserve("default", 1, 0.1)  # by one that has not looked yet
    assert await gates.shorten("default", 0)
    assert (await gates.reserve("default", 1, 0.1)).wait_s < 1


@pytest.mark.large  # the fault suite has it with more
def test_five_senders_keep_one_rate(trio: Trio) -> None:
    trio.settings["SMS_PROVIDER_RATE"] = "40"
    trio.up(senders=5)
    batch_id = trio.post(plain(200))
    assert trio.finished(batch_id) == {"sent": 200}
    answer = requests.get(f"{trio.simulator.url}/calls", params={"batch": batch_id, "limit": 1000}, timeout=30)
    at = sorted(datetime.fromisoformat(call["at"]) for call in answer.json()["calls"])
    # However late single calls are on a busy machine, all of them take as long as the rate says.
    assert (at[-1] - at[0]).total_seconds() >= 200 / 40 - 2


async def test_a_pause_can_be_shortened_and_is_not_lengthened_by_it(database: Database) -> None:
    gates = ProviderGates(database)
    assert not await gates.shorten("default", 0)
    await gates.hold("default", 86_400, THROTTLED)
    assert await gates.shorten("default", 300)
    (held,) = await gates.held()
    assert 200 < held.left_s <= 300
    assert (held.cause, held.code, held.reason, held.status) == (Cause.ASKED, "throttled", "Later", 429)
    assert not await gates.shorten("default", 600)
    assert await gates.shorten("default", 0)
    assert await gates.held() == []


async def test_a_pause_says_why_and_the_words_are_those_of_the_one_that_lasts_longest(database: Database) -> None:
    gates, before_ms = ProviderGates(database), now_ms()
    await gates.hold("default", 300, REVOKED)
    await gates.hold("default", 5, THROTTLED)
    await gates.hold("another", 60, THROTTLED)
    another, held = await gates.held()
    assert (another.provider, another.cause) == ("another", Cause.ASKED)
    assert (held.cause, held.code, held.reason, held.status) == (Cause.ACCOUNT, "http_401", "Wrong key", 401)
    assert held.until_ms >= before_ms + 200_000
    await gates.hold("default", 600, THROTTLED)
    assert [each.cause for each in await gates.held()] == [Cause.ASKED, Cause.ASKED]


async def test_a_pause_of_a_sender_of_the_version_before_is_not_told_in_the_words_of_an_earlier_one(
    database: Database,
) -> None:
    gates = ProviderGates(database)
    await gates.hold("default", 1, REVOKED)
    async with database.writing() as connection:
        await connection.execute(text("UPDATE provider_gates SET held_until_us = held_until_us + 300000000"))
    (held,) = await gates.held()
    assert (held.cause, held.code, held.reason, held.status) == (Cause.UNTOLD, None, None, None)


def test_a_pause_of_a_day_is_kept_for_a_bounded_time_and_an_operator_ends_it(trio: Trio) -> None:
    trio.settings["SMS_PROVIDER_LONGEST_PAUSE_S"] = "120"
    trio.up(senders=2)
    environment = outside_environment(**trio.settings)
    trio.misbehave("throttle", retry_after_s=86_400)
    trio.post(plain(40))  # of two senders, one has the twenty calls in a row that it takes
    (held,) = eventually(trio.held)
    assert 60 < (datetime.fromisoformat(held["until"]) - datetime.now(UTC)).total_seconds() <= 120
    trio.misbehave("accept")
    other = trio.post(plain(40))

    def resumed() -> str:
        return run("tools.ctl", "provider", "resume", environment=environment, timeout_s=60).stdout

    assert resumed() == "default is called again\n"

    def goes_out() -> bool:
        resumed()  # again: an answer that was under way may have asked for the pause once more
        return bool(trio.batch(other)["status"] == "finished")

    assert eventually(goes_out, 90, 1)


def test_a_sender_that_starts_while_the_provider_is_held_calls_it_for_nobody(trio: Trio) -> None:
    trio.settings["SMS_RECOVER_AFTER_S"] = "600"  # so it holds what it has for minutes
    trio.up(senders=0)
    asyncio.run(hold(trio, 600))
    trio.misbehave("throttle", retry_after_s=600)  # a call would cost its number ten minutes
    sender = trio.start("services.sender", **trio.settings)
    batch_id = trio.post(plain(40))
    eventually(lambda: "circuit_opened" in sender.log)
    eventually(lambda: trio.batch(batch_id)["counts"].get("queued") == 40)
    eventually(lambda: trio.depths()[outbound_queue(Lane.BULK)] == 0)
    assert trio.provider_calls(batch_id) == {}
    trio.misbehave("accept")
    environment = outside_environment(**trio.settings)
    assert run("tools.ctl", "provider", "resume", environment=environment, timeout_s=60).returncode == 0
    assert trio.finished(batch_id) == {"sent": 40}


async def hold(trio: Trio, pause_s: float) -> None:
    """As a sender that was asked for a pause."""
    database = Database(trio.settings["SMS_DATABASE_URL"])
    await ProviderGates(database).hold("default", pause_s, THROTTLED)
    await database.close()


@pytest.mark.large  # the fault suite has it with more
@pytest.mark.parametrize("mode", ["401", "402"])
def test_a_refused_account_fails_nobody_and_all_goes_out_when_it_is_mended(trio: Trio, mode: str) -> None:
    trio.settings |= {"SMS_RECOVER_AFTER_S": "600", "SMS_MAX_ATTEMPTS": "1", "SMS_PREFETCH": "50"}
    trio.up(senders=2)
    trio.misbehave("slow", delay_s=0.1)  # of the calls that fifty each make, two thousand take seconds
    batch_id = trio.post(plain(2000))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 100)
    trio.misbehave(mode)
    eventually(lambda: any("provider_held" in sender.log for sender in trio.senders))
    eventually(lambda: [(held["cause"], held["provider_status"]) for held in trio.held()] == [("account", int(mode))])
    calls = sum(trio.provider_calls(batch_id).values())
    assert calls < 2000
    trio.misbehave("accept")
    environment = outside_environment(**trio.settings)
    assert run("tools.ctl", "provider", "resume", environment=environment, timeout_s=60).returncode == 0
    assert trio.finished(batch_id, 120) == {"sent": 2000}
    assert set(trio.provider_accepted(batch_id).values()) == {1}
