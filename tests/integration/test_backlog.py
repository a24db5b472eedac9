"""What the dispatcher tells of the queues and of the oldest number that waits, also when it cannot ask."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from shared.clock import now_ms
from shared.domain.outcome import Outcome
from shared.domain.states import State
from shared.ledger.control import ControlLedger
from shared.ledger.database import Database
from shared.ledger.feeding import FeedingLedger
from shared.ledger.sending import Recorded, SendingLedger
from tests.conftest import Start
from tests.integration.test_ledger import a_batch, attempts_of, written
from tests.integration.test_trio import numbers
from tests.support.brokers import Vhost
from tests.support.own_broker import KINDS, default_vhost, own_broker
from tests.support.private_postgres import PrivatePostgres
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for

QUEUE_MESSAGES, OLDEST_UNSENT = "sms_dispatcher_queue_messages", "sms_dispatcher_oldest_unsent_seconds"
# Under a fault a look may take 10 seconds more, and a broker's loss shows after half a minute.
SEEN_WITHIN_S = 90


def settings(vhost: Vhost, database_url: str, simulator: ServiceProcess) -> dict[str, str]:
    return {**settings_for(vhost, database_url, simulator), "SMS_BACKLOG_LOOK_S": "0.5"}


def gauges(service: ServiceProcess, name: str) -> dict[str, float]:
    """A gauge's values by its only label."""
    families = text_string_to_metric_families(requests.get(f"{service.url}/metrics", timeout=30).text)
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return {next(iter(sample.labels.values())): sample.value for sample in samples}


def test_the_messages_of_every_queue_are_counted(
    vhost: Vhost, sqlite_url: str, simulator: ServiceProcess, start: Start
) -> None:
    trio = Trio(vhost, simulator, settings(vhost, sqlite_url, simulator), start).up()
    trio.finished(trio.post([*numbers(3, "9005"), *numbers(2, "9009")]))
    no_text = {"recipients": ["+8613800138000"], "template_id": 404}
    assert requests.post(f"{trio.api.url}/v1/batches", json=no_text, timeout=30).status_code == 202
    letters = {"sms.dead-letter": 3, "sms.unknown": 2, "sms.dead-letter.batches": 1}
    expected = {**dict.fromkeys(trio.depths(), 0), **letters}
    eventually(lambda: gauges(trio.dispatcher, QUEUE_MESSAGES) == expected, SEEN_WITHIN_S)


def test_the_oldest_unsent_number_has_an_age_until_somebody_tries_it(
    vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start
) -> None:
    trio = Trio(vhost, simulator, settings(vhost, database_url, simulator), start).up(senders=0)
    posted_at_ms = now_ms()
    trio.post(["+8613800138000"])
    later = datetime.now(UTC) + timedelta(hours=1)
    trio.post(["+8613800138000"], lane="priority", send_at=later.isoformat())
    eventually(lambda: gauges(trio.dispatcher, OLDEST_UNSENT).get("bulk", 0) > 0, SEEN_WITHIN_S)
    ages_s = gauges(trio.dispatcher, OLDEST_UNSENT)
    assert ages_s["bulk"] <= (now_ms() - posted_at_ms) / 1000
    assert ages_s["priority"] == 0
    trio.start("services.sender", **trio.settings)
    eventually(lambda: gauges(trio.dispatcher, OLDEST_UNSENT) == {"bulk": 0, "priority": 0}, SEEN_WITHIN_S)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_asked_has_no_value_and_the_dispatcher_lives_on(
    kind: str, tmp_path: Path, own_postgres: PrivatePostgres, simulator: ServiceProcess, start: Start
) -> None:
    with own_broker(kind, tmp_path / "broker") as broker:
        vhost = default_vhost(broker)
        trio = Trio(vhost, simulator, settings(vhost, own_postgres.url, simulator), start).up(senders=0)
        trio.post(["+8613800138000"])
        eventually(lambda: gauges(trio.dispatcher, QUEUE_MESSAGES).get("sms.outbound.bulk") == 1, SEEN_WITHIN_S)
        broker.freeze()
        eventually(lambda: gauges(trio.dispatcher, QUEUE_MESSAGES) == {}, SEEN_WITHIN_S)
        assert gauges(trio.dispatcher, OLDEST_UNSENT)["bulk"] > 0
        own_postgres.kill()
        eventually(lambda: gauges(trio.dispatcher, OLDEST_UNSENT) == {}, SEEN_WITHIN_S)
        broker.thaw()
        own_postgres.start()
        eventually(lambda: gauges(trio.dispatcher, QUEUE_MESSAGES).get("sms.outbound.bulk") == 1, SEEN_WITHIN_S)
        eventually(lambda: gauges(trio.dispatcher, OLDEST_UNSENT).get("bulk", 0) > 0, SEEN_WITHIN_S)


async def test_a_batch_is_due_when_it_was_accepted_or_should_be_sent(database: Database) -> None:
    ledger, now = FeedingLedger(database), now_ms()
    assert await ledger.oldest_due_ms(now) == {}
    await written(database, a_batch(1, accepted_at_ms=now - 5_000))
    await written(database, a_batch(1, accepted_at_ms=now - 9_000, send_at_ms=now - 7_000))
    await written(database, a_batch(1, accepted_at_ms=now - 3_000, send_at_ms=now - 8_000, lane="priority"))
    await written(database, a_batch(1, accepted_at_ms=now - 99_000, send_at_ms=now + 1_000))
    assert await ledger.oldest_due_ms(now) == {"bulk": now - 7_000, "priority": now - 3_000}


async def test_what_is_paused_or_tried_or_done_is_not_waited_for(database: Database) -> None:
    ledger, sender, now = FeedingLedger(database), SendingLedger(database), now_ms()
    paused, tried = await written(database, a_batch(1)), await written(database, a_batch(2))
    assert "bulk" in await ledger.oldest_due_ms(now_ms())
    await ControlLedger(database).pause(paused.batch_id)
    await sender.claim(attempts_of(tried), "token", now)
    assert await ledger.oldest_due_ms(now_ms()) == {}
    retrying = Outcome(State.RETRYING, "503", "busy", retry_at_ms=now + 60_000)
    outcomes = (retrying, Outcome(State.SENT))
    records = [Recorded(tried.batch_id, row, 1, outcome) for row, outcome in enumerate(outcomes)]
    await sender.record(records, now)
    assert await ledger.oldest_due_ms(now_ms()) == {}
    await ControlLedger(database).resume(paused.batch_id)
    assert "bulk" in await ledger.oldest_due_ms(now_ms())
