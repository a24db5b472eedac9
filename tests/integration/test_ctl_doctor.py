"""smsctl doctor against real parts: each thing is made wrong, named, made right, and named no more."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pika
import pytest

from shared.clock import now_ms
from shared.domain.outcome import CallResult, Verdict
from shared.domain.states import State
from shared.ledger.database import Database
from shared.ledger.provider_gates import ProviderGates
from shared.topology import DeadLetterKey
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.cluster import running_cluster
from tests.support.doctor import TIERS_S, Patient, working
from tests.support.handmade_ledger import AGE_MS, HandmadeLedger, put_letters
from tests.support.machine import NotHere, missing
from tests.support.own_broker import KINDS, OwnBroker, default_vhost, own_broker
from tests.support.postgres import take_no_writes
from tests.support.private_postgres import PrivatePostgres
from tests.support.private_redis import PrivateRedis
from tests.support.processes import ServiceProcess, eventually
from tests.support.standing_in import standing_in
from tests.support.trio import Trio, settings_for

NOWHERE = "amqp://user:made-up@127.0.0.1:1/"
MEMORY_ALARM = ("set_vm_memory_high_watermark", "0.0000001"), ("set_vm_memory_high_watermark", "0.6")
DISK_ALARM = ("set_disk_free_limit", "999999GB"), ("set_disk_free_limit", "50MB")


@pytest.fixture
def settings(sqlite_url: str) -> dict[str, str]:
    return {
        "SMS_DATABASE_URL": sqlite_url,
        "SMS_RETRY_TIERS_S": ",".join(map(str, TIERS_S)),
        "SMS_RECOVER_AFTER_S": "10",
    }


@pytest.fixture
def books(settings: dict[str, str]) -> HandmadeLedger:
    return HandmadeLedger(settings["SMS_DATABASE_URL"])


def healthy(vhost: Vhost, settings: dict[str, str]) -> Iterator[Patient]:
    """Everything is there, and somebody consumes."""
    HandmadeLedger(settings["SMS_DATABASE_URL"])
    with standing_in() as api:
        own = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_MANAGEMENT_URL": vhost.management_url, "SMS_API_URL": api.url}
        patient = Patient(vhost, api, {**settings, **own})
        patient.smsctl("topology")
        with working(vhost):
            yield patient


@pytest.fixture
def patient(each_vhost: Vhost, settings: dict[str, str]) -> Iterator[Patient]:
    yield from healthy(each_vhost, settings)


@pytest.fixture
def one_patient(vhost: Vhost, settings: dict[str, str]) -> Iterator[Patient]:
    """Where the broker's version does not matter."""
    yield from healthy(vhost, settings)


def not_checked(patient: Patient) -> dict[str, str]:
    """What was not looked at, with the reasons."""
    said = patient.doctor()[1]["not_checked"]
    return dict(finding["what"].split(", because ", 1) for finding in said)


@pytest.mark.on_each
def test_a_real_system_is_well(each_vhost: Vhost, simulator: ServiceProcess, sqlite_url: str, start: Start) -> None:
    trio = Trio(each_vhost, simulator, settings_for(each_vhost, sqlite_url, simulator), start).up(senders=1)
    trio.finished(trio.post(["+8613800138000"]))
    with standing_in() as unused:
        own = {"SMS_API_URL": trio.api.url, "SMS_MANAGEMENT_URL": each_vhost.management_url}
        patient = Patient(each_vhost, unused, {**trio.settings, **own})
        said = patient.smsctl("doctor")
    assert (said.returncode, said.stderr) == (0, "")
    assert "nothing is wrong" in said.stdout.splitlines()[-1]
    assert "    " not in said.stdout.replace("\n    the services declare it again", "")
    assert each_vhost.password not in said.stdout


def test_bad_settings_are_one_line(one_patient: Patient) -> None:
    for name, value in (("SMS_MANAGEMENT_URL", "localhost:15672"), ("SMS_AMQP_URL", "nonsense"), ("SMS_API_URL", "x")):
        said = one_patient.smsctl("doctor", **{name: value})
        assert (said.returncode, said.stdout) == (2, "")
        assert said.stderr.startswith(f"smsctl: bad settings: {name}: ")
        assert said.stderr.count("\n") == 1


@pytest.mark.on_each
def test_a_policy_that_changes_what_queues_do_is_named_with_the_commands_that_mend_it(patient: Patient) -> None:
    broker, name = patient.vhost.broker, patient.vhost.name
    for kind, command in (("policies", "policy"), ("operator-policies", "operator_policy")):
        body = {"pattern": ".*", "definition": {"message-ttl": 1000, "expires": 3_600_000}, "apply-to": "queues"}
        broker.api("PUT", f"{kind}/{name}/expiring", json=body)
        status, said = patient.doctor()
        (finding,) = said["findings"]
        assert status == 1
        assert finding["what"].startswith(f"{command.replace('_', ' ')} expiring (pattern .*) sets expires=3600000 on ")
        assert "; message-ttl=1000 on sms.batches, " in finding["what"]
        assert finding["todo"].startswith(f"rabbitmqctl clear_{command} -p {name} expiring ")
        assert f"rabbitmqctl set_{command} -p {name} --priority 1 " in finding["todo"]
        broker.api("DELETE", f"{kind}/{name}/expiring")
        assert patient.wrong() == []


def test_policies_that_cannot_be_asked_for_are_not_checked(one_patient: Patient) -> None:
    one_patient.settings["SMS_MANAGEMENT_URL"] = ""
    reason = "no management API is configured (SMS_MANAGEMENT_URL is empty)"
    assert not_checked(one_patient)["policies"] == reason


def test_a_node_that_cannot_be_reached_is_named_and_the_others_are_looked_at(one_patient: Patient) -> None:
    one_patient.settings["SMS_AMQP_URL"] = f"{one_patient.vhost.amqp_url},{NOWHERE}"
    (what,) = one_patient.wrong()
    assert what.startswith("the broker cannot be reached at 127.0.0.1:1/: ")
    assert "made-up" not in what
    one_patient.settings["SMS_AMQP_URL"] = one_patient.vhost.amqp_url
    assert one_patient.wrong() == []


def test_without_a_broker_everything_else_is_looked_at(one_patient: Patient) -> None:
    one_patient.settings["SMS_AMQP_URL"] = NOWHERE
    one_patient.settings["SMS_MANAGEMENT_URL"] = ""
    one_patient.api.checks["broker"] = False
    broker, api = one_patient.wrong()
    assert broker.startswith("the broker cannot be reached at 127.0.0.1:1/: ")
    assert api == "the api is not ready: broker"
    unseen = not_checked(one_patient)
    assert unseen["exchanges and queues"] == "the broker cannot be reached"
    assert unseen["bindings"] == "no management API is configured (SMS_MANAGEMENT_URL is empty)"
    assert "the database's clock" not in unseen
    said = one_patient.smsctl("doctor", "--fix")
    assert said.returncode == 1
    assert "nothing was repaired: cannot reach the broker at 127.0.0.1:1/" in said.stdout
    assert "the api is not ready: broker" in said.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_broker_that_says_nothing_holds_nobody_up(kind: str, tmp_path: Path, settings: dict[str, str]) -> None:
    with own_broker(kind, tmp_path / "broker") as broker:
        for patient in healthy(default_vhost(broker), settings):
            broker.freeze()
            wrong = patient.wrong()
            broker.thaw()
            assert any(what.startswith("the broker cannot be reached at 127.0.0.1") for what in wrong)
            assert any(what.startswith("the management API does not answer") for what in wrong)
            assert eventually(lambda patient=patient: patient.wrong() == [], 60)


def test_a_management_api_that_cannot_be_reached_is_named(one_patient: Patient) -> None:
    one_patient.settings["SMS_MANAGEMENT_URL"] = "http://127.0.0.1:1"
    assert one_patient.wrong() == ["the management API does not answer at http://127.0.0.1:1"]
    reason = "the management API does not answer at http://127.0.0.1:1"
    assert not_checked(one_patient)["alarms"] == reason
    one_patient.settings["SMS_MANAGEMENT_URL"] = one_patient.api.url
    assert "is not RabbitMQ's management API" in one_patient.wrong()[0]
    one_patient.settings["SMS_MANAGEMENT_URL"] = one_patient.vhost.management_url
    assert one_patient.wrong() == []


def test_a_ledger_that_is_not_there_is_named_and_not_made(one_patient: Patient, tmp_path: Path) -> None:
    ledger = one_patient.settings["SMS_DATABASE_URL"]
    one_patient.settings["SMS_DATABASE_URL"] = f"sqlite:///{tmp_path}/none.sqlite3"
    assert one_patient.wrong() == [f"the ledger is not there: there is no file {tmp_path}/none.sqlite3"]
    assert not (tmp_path / "none.sqlite3").exists()
    one_patient.settings["SMS_DATABASE_URL"] = ledger
    assert one_patient.wrong() == []


def test_a_database_that_is_down_is_named(one_patient: Patient, own_postgres: PrivatePostgres) -> None:
    one_patient.settings["SMS_DATABASE_URL"] = url = own_postgres.create_database("ledger")
    assert one_patient.wrong() == ["the ledger has no tables"]
    HandmadeLedger(url)
    own_postgres.kill()
    (what,) = one_patient.wrong()
    assert what.startswith("the ledger cannot be reached: ")
    assert not_checked(one_patient)["whether dead letters grow"] == "the ledger cannot be reached"
    own_postgres.start()
    assert one_patient.wrong() == []


@pytest.mark.parametrize(
    ("version", "said"), [("0001", "are of version 0001, this code needs "), ("9999", "does not know: it is older")]
)
def test_tables_of_another_version_are_named(
    one_patient: Patient, books: HandmadeLedger, version: str, said: str
) -> None:
    ((right,),) = books.fetch("SELECT version_num FROM alembic_version")
    books.execute("UPDATE alembic_version SET version_num = :version", version=version)
    (what,) = one_patient.wrong()
    assert said in what
    books.execute("UPDATE alembic_version SET version_num = :version", version=right)
    assert one_patient.wrong() == []


def test_a_redis_that_is_down_is_named(one_patient: Patient, tmp_path: Path) -> None:
    try:
        server = PrivateRedis(tmp_path / "redis")
    except NotHere as reason:
        missing(str(reason))
    with server:
        one_patient.settings["SMS_REDIS_URL"] = server.url
        server.kill()
        (what,) = one_patient.wrong()
        assert what.startswith("Redis cannot be reached: 127.0.0.1:")
        server.start()
        assert one_patient.wrong() == []


def test_an_api_that_is_down_or_not_ready_is_named(one_patient: Patient) -> None:
    url = one_patient.settings["SMS_API_URL"]
    one_patient.settings["SMS_API_URL"] = "http://127.0.0.1:1"
    assert one_patient.wrong() == ["the api does not answer at http://127.0.0.1:1 (ConnectionError)"]
    assert not_checked(one_patient)["the api's clock"].startswith("the api does not answer")
    one_patient.settings["SMS_API_URL"] = url
    one_patient.api.checks["ledger"] = False
    assert one_patient.wrong() == ["the api is not ready: ledger"]
    one_patient.api.checks["ledger"] = True
    assert one_patient.wrong() == []


def test_what_is_missing_is_named_and_declared(patient: Patient) -> None:
    for path in ("queues/{}/sms.unknown", "exchanges/{}/sms.retry"):
        patient.vhost.broker.api("DELETE", path.format(patient.vhost.name))
    patient.unbind("sms.outbound", "sms.outbound.bulk", "1s.bulk")
    named = {
        "queue sms.unknown is missing",
        "exchange sms.retry is missing",
        "binding of sms.unknown to exchange sms.dead-letter by unknown is missing",
        "binding of sms.retry.1s to exchange sms.retry by 1s.priority, 1s.bulk is missing",
        "binding of sms.retry.1m to exchange sms.retry by 1m.priority, 1m.bulk is missing",
        "binding of sms.outbound.bulk to exchange sms.outbound by 1s.bulk is missing",
    }
    assert set(patient.wrong()) == named
    status, said = patient.doctor("--fix")
    assert (status, said["findings"]) == (0, [])
    assert {f"{what} is missing".removeprefix("declared ") for what in said["fixed"]} == named
    assert patient.doctor("--fix")[1]["fixed"] == []


def test_an_exchange_of_another_type_is_named_and_left_alone(one_patient: Patient) -> None:
    path = f"exchanges/{one_patient.vhost.name}/sms.retry"
    one_patient.vhost.broker.api("DELETE", path)
    one_patient.vhost.broker.api("PUT", path, json={"type": "fanout", "durable": True})
    (named,) = [what for what in one_patient.wrong() if not what.startswith("binding")]
    assert named == "exchange sms.retry on the broker has type = fanout, it should be direct"
    assert named in one_patient.wrong("--fix")
    one_patient.vhost.broker.api("DELETE", path)
    assert one_patient.wrong("--fix") == []


def test_a_queue_left_by_an_interrupted_migration_is_named_and_its_messages_brought_back(patient: Patient) -> None:
    with pika.BlockingConnection(pika.URLParameters(patient.vhost.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("sms.unknown.migrating", durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_publish(
            "", "sms.unknown.migrating", b"{}", pika.BasicProperties(message_id="left"), mandatory=True
        )
    assert patient.wrong() == ["queue sms.unknown.migrating is left of an interrupted migration, with 1 message in it"]
    assert patient.wrong("--fix") == []
    assert [message["properties"]["message_id"] for message in patient.vhost.messages("sms.unknown")] == ["left"]


RIGHTS = [
    (("^sms.batches$", ".*", ".*"), "configure", "sms.unknown", "sms.unknown"),
    ((".*", "^(?!sms.retry$).*", ".*"), "write", "sms.retry", "sms.retry"),
    ((".*", ".*", "^(?!sms.unknown$).*"), "read", "sms.unknown", "sms.unknown"),
]


@pytest.mark.parametrize(("given", "right", "of_asked", "of_tried"), RIGHTS, ids=["configure", "write", "read"])
def test_a_right_that_is_lacking_is_named(
    patient: Patient, given: tuple[str, str, str], right: str, of_asked: str, of_tried: str
) -> None:
    vhost, broker = patient.vhost, patient.vhost.broker
    user = f"lesser-{vhost.name}"
    broker.api("PUT", f"users/{user}", json={"password": "made-up", "tags": ""})
    try:
        patient.settings["SMS_AMQP_URL"] = vhost.amqp_url.replace(f"{vhost.user}:{vhost.password}", f"{user}:made-up")
        administrator = vhost.management_url.replace("//", f"//{vhost.user}:{vhost.password}@", 1)

        def allow(*patterns: str) -> None:
            rights = dict(zip(("configure", "write", "read"), patterns, strict=True))
            broker.api("PUT", f"permissions/{vhost.name}/{user}", json=rights)

        for url, name in ((administrator, of_asked), ("", of_tried)):
            patient.settings["SMS_MANAGEMENT_URL"] = url
            allow(*given)
            (what,) = patient.wrong()
            assert what.startswith(f"the user {user} may not {right} ")
            assert name in what
            assert what.endswith(f" on the virtual host {vhost.name}")
            allow(r"^sms\..*", r"^sms\..*", r"^sms\..*")
            assert patient.wrong() == []
    finally:
        broker.api("DELETE", f"users/{user}")


def test_what_the_user_may_not_ask_is_said(patient: Patient) -> None:
    vhost, broker = patient.vhost, patient.vhost.broker
    user = f"plain-{vhost.name}"
    broker.api("PUT", f"users/{user}", json={"password": "made-up", "tags": ""})
    try:
        rights = dict.fromkeys(("configure", "write", "read"), ".*")
        broker.api("PUT", f"permissions/{vhost.name}/{user}", json=rights)
        patient.settings["SMS_AMQP_URL"] = vhost.amqp_url.replace(f"{vhost.user}:{vhost.password}", f"{user}:made-up")
        assert patient.wrong() == []
        assert not_checked(patient)["bindings"].startswith(f"the management API does not allow it to the user {user}")
        broker.api("PUT", f"users/{user}", json={"password": "made-up", "tags": "management"})
        unseen = not_checked(patient)
        assert "bindings" not in unseen
        assert "the cluster's nodes" in unseen
        broker.api("PUT", f"users/{user}", json={"password": "made-up", "tags": "monitoring"})
        assert set(not_checked(patient)) <= {"deprecated features"}
    finally:
        broker.api("DELETE", f"users/{user}")


def test_the_versions_of_the_tested_brokers_are_no_findings(patient: Patient) -> None:
    hints = [finding["what"] for finding in patient.doctor()[1]["hints"]]
    assert patient.wrong() == []
    assert [what.startswith("RabbitMQ 3.10.") for what in hints] == (
        [True] if patient.vhost.broker.kind == "node" else []
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("resource", "alarm"),
    [("memory", MEMORY_ALARM), pytest.param("disk space", DISK_ALARM, marks=pytest.mark.large)],
)
def test_an_alarm_is_named(
    kind: str, resource: str, alarm: tuple[tuple[str, str], ...], tmp_path: Path, settings: dict[str, str]
) -> None:
    (begin, end) = alarm
    with own_broker(kind, tmp_path / "broker") as broker:
        for patient in healthy(default_vhost(broker), settings):
            broker.ctl(*begin)
            (what,) = eventually(lambda patient=patient: patient.wrong())
            assert what.startswith(f"{resource} alarm on RabbitMQ's node ")
            patient.settings["SMS_MANAGEMENT_URL"] = ""
            assert not_checked(patient)["alarms"].startswith("no management API")
            patient.settings["SMS_MANAGEMENT_URL"] = broker.broker.management_url
            broker.ctl(*end)
            assert eventually(lambda patient=patient: patient.wrong() == [])


@pytest.mark.docker
def test_a_deprecated_feature_in_use_is_named(tmp_path: Path, settings: dict[str, str]) -> None:
    with own_broker("container", tmp_path) as broker:
        permit_transient_queues(broker)
        for patient in healthy(default_vhost(broker), settings):
            with pika.BlockingConnection(pika.URLParameters(patient.vhost.amqp_url)) as connection:
                connection.channel().queue_declare("transient", durable=False)
            (what,) = patient.wrong()
            assert what.startswith("the deprecated feature transient_nonexcl_queues is in use on the broker")
            patient.vhost.broker.api("DELETE", "queues/%2F/transient")
            assert patient.wrong() == []


def permit_transient_queues(broker: OwnBroker) -> None:
    """RabbitMQ 4.3 denies them unless it is told otherwise."""
    broker.ctl("eval", "application:set_env(rabbit, permit_deprecated_features, #{transient_nonexcl_queues => true}).")
    broker.ctl("stop_app")
    broker.ctl("start_app")
    broker.start()


@pytest.mark.docker
@pytest.mark.large
def test_a_node_that_is_down_is_named(tmp_path: Path, settings: dict[str, str]) -> None:
    with running_cluster(tmp_path) as cluster:
        for patient in healthy(cluster.vhost, settings):
            patient.settings["SMS_AMQP_URL"] = cluster.amqp_urls
            assert patient.wrong() == []
            cluster.kill("rabbitmq3")
            wrong = eventually(lambda patient=patient: found if len(found := patient.wrong()) > 1 else None, 60)
            assert wrong[0].startswith("the broker cannot be reached at ")
            assert wrong[1:] == ["RabbitMQ's node rabbit@rabbitmq3 is down"]
            cluster.start("rabbitmq3")
            cluster.await_whole()
            assert patient.wrong() == []


@pytest.mark.parametrize(
    ("queue", "service"),
    [
        ("sms.batches", "dispatcher"),
        ("sms.outbound.bulk", "sender"),
        pytest.param("sms.outbound.priority", "sender", marks=pytest.mark.large),
    ],
)
def test_a_queue_that_nobody_consumes_is_named(patient: Patient, queue: str, service: str) -> None:
    patient.vhost.broker.api("DELETE", f"queues/{patient.vhost.name}/{queue}")
    time.sleep(0.5)  # 3.10 forgets to cancel the consumers of a queue that is back at once
    assert patient.smsctl("topology").returncode == 0
    assert patient.wrong() == [f"nobody consumes {queue}: no {service} is connected, 0 messages waiting"]
    with working(patient.vhost):
        assert patient.wrong() == []


def test_dead_letters_that_are_there_are_a_hint_and_those_that_come_in_a_finding(
    one_patient: Patient, books: HandmadeLedger
) -> None:
    put_letters(one_patient.vhost, DeadLetterKey.OUTBOUND, ["a", "b"])
    status, said = one_patient.doctor()
    assert status == 0
    assert "2 dead letters in sms.dead-letter" in [finding["what"] for finding in said["hints"]]
    batch_id = books.batch([State.SENT] * 3 + [State.FAILED] * 2 + [State.UNKNOWN], finished_at_ms=now_ms())
    growing = "dead letters are growing: "
    assert one_patient.wrong() == [
        f"{growing}2 numbers became failed within the last ten minutes (no code 2)",
        f"{growing}1 number became unknown within the last ten minutes (timeout 1)",
    ]
    books.execute("UPDATE messages SET decision = 'sent', state = 'sent' WHERE state = 'unknown'")
    books.execute("UPDATE messages SET updated_at_ms = updated_at_ms - 600000 WHERE batch_id = :id", id=batch_id)
    assert one_patient.wrong() == []


def test_batches_that_could_not_be_sent_as_a_whole_are_dead_letters_that_grow(
    one_patient: Patient, books: HandmadeLedger
) -> None:
    batch_id = books.batch([State.INVALID], error_code="no_content")
    (what,) = one_patient.wrong()
    assert what.startswith("dead letters are growing: 1 batch could not be sent as a whole")
    books.execute("UPDATE batches SET finished_at_ms = finished_at_ms - 600000 WHERE id = :id", id=batch_id)
    assert one_patient.wrong() == []


STANDING_STILL = [
    *((state, "postgres") for state in (State.QUEUED, State.RETRYING, State.SENDING, State.PENDING)),
    (State.QUEUED, "sqlite"),
    pytest.param(State.RETRYING, "sqlite", marks=pytest.mark.large),
    pytest.param(State.SENDING, "sqlite", marks=pytest.mark.large),
    pytest.param(State.PENDING, "sqlite", marks=pytest.mark.large),
]


@pytest.mark.parametrize(("state", "database"), STANDING_STILL)
def test_numbers_that_stand_still_beside_empty_queues_are_named(
    one_patient: Patient, state: State, database: str, request: pytest.FixtureRequest
) -> None:
    if database == "postgres":
        one_patient.settings["SMS_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    books = HandmadeLedger(one_patient.settings["SMS_DATABASE_URL"])
    books.serve("default")
    batch_id = books.batch([State.SENT, state, state])
    one_patient.settings["SMS_RECOVER_AFTER_S"] = str(AGE_MS / 1000)
    assert one_patient.wrong() == []
    one_patient.settings["SMS_RECOVER_AFTER_S"] = "10"
    said = f"batch {batch_id}: 2 numbers {state} for long, and no message of theirs waits in the queues"
    assert one_patient.wrong() == [said]
    books.execute("UPDATE messages SET updated_at_ms = :now", now=now_ms())
    assert one_patient.wrong() == []


def test_numbers_whose_messages_wait_are_only_slow(one_patient: Patient, books: HandmadeLedger) -> None:
    books.serve("default")
    books.batch([State.QUEUED])
    tier = "sms.retry.1m"
    books.batch([State.RETRYING])
    assert len(one_patient.wrong()) == 2
    with pika.BlockingConnection(pika.URLParameters(one_patient.vhost.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("sms.retry", "1m.bulk", b"{}", mandatory=True)
    assert [what for what in one_patient.wrong() if "retrying" in what] == []
    one_patient.vhost.broker.api("DELETE", f"queues/{one_patient.vhost.name}/{tier}/contents")
    assert len(one_patient.wrong()) == 2


def test_of_many_unfinished_batches_the_oldest_are_looked_at(one_patient: Patient, books: HandmadeLedger) -> None:
    for _ in range(21):
        books.batch([State.PENDING], state="paused")
    status, said = one_patient.doctor()
    assert status == 0
    only = "only the oldest 20 of 21 unfinished batches were held against the queues"
    assert only in [finding["what"] for finding in said["hints"]]


def at_the_gates(settings: dict[str, str], command: Callable[[ProviderGates], Awaitable[object]]) -> None:
    """As a sender or an operator does."""

    async def done() -> None:
        database = Database(settings["SMS_DATABASE_URL"])
        try:
            await command(ProviderGates(database))
        finally:
            await database.close()

    asyncio.run(done())


def hold(settings: dict[str, str], pause_s: float, answer: CallResult) -> None:
    at_the_gates(settings, lambda gates: gates.hold("default", pause_s, answer))


def test_a_provider_that_is_held_is_named_with_the_reason_and_how_to_end_it(one_patient: Patient) -> None:
    hold(one_patient.settings, 300, CallResult(Verdict.NOT_SENT, "throttled", "Later", 429))
    status, said = one_patient.doctor()
    (asked,) = [found for found in said["hints"] if "is held" in found["what"]]
    assert (status, said["findings"]) == (0, [])
    assert asked["what"].endswith("Z: it asked for a pause (throttled, HTTP 429: Later)")
    hold(one_patient.settings, 3000, CallResult(Verdict.ACCOUNT, "http_401", "Wrong key", 401))
    (what,) = one_patient.wrong()
    assert what.startswith("the provider default is held until 20")
    assert what.endswith("Z: it does not serve our account (http_401, HTTP 401: Wrong key)")
    assert one_patient.smsctl("provider", "resume").stdout == "default is called again\n"
    assert one_patient.wrong() == []


def test_a_provider_that_senders_cannot_reach_is_named_with_the_reason_until_it_is_tried_again(
    one_patient: Patient,
) -> None:
    at_the_gates(one_patient.settings, lambda gates: gates.avoid("default", 300, "connection refused"))
    assert one_patient.wrong() == ["senders cannot reach the provider default: connection refused"]
    at_the_gates(one_patient.settings, lambda gates: gates.avoid("default", 0, "connection refused"))
    assert one_patient.wrong() == []


def test_a_provider_that_an_operator_paused_is_named_once_though_nobody_reaches_it(one_patient: Patient) -> None:
    at_the_gates(one_patient.settings, lambda gates: gates.avoid("default", 300, "connection refused"))
    at_the_gates(one_patient.settings, lambda gates: gates.pause("default"))
    assert one_patient.wrong() == ["the provider default is paused: an operator paused it"]


def test_messages_for_a_provider_that_no_sender_has_are_named(one_patient: Patient) -> None:
    books = HandmadeLedger(one_patient.settings["SMS_DATABASE_URL"])
    batch_id = books.batch([State.RETRYING, State.RETRYING, State.SENT], provider="elsewhere")
    books.execute("UPDATE messages SET updated_at_ms = :now, retry_at_ms = :now", now=now_ms())
    assert "2 messages for the provider elsewhere, which there is not" in one_patient.wrong()
    books.execute("UPDATE batches SET provider = 'default' WHERE id = :id", id=batch_id)
    assert not any("which there is not" in what for what in one_patient.wrong())


def test_a_provider_that_no_sender_serves_is_named_while_batches_run(
    one_patient: Patient, books: HandmadeLedger, tmp_path: Path
) -> None:
    file = tmp_path / "providers.toml"
    file.write_text('[providers.one]\ntype = "plain"\n[providers.two]\ntype = "plain"\n')
    one_patient.settings["SMS_PROVIDERS_FILE"] = str(file)
    books.serve("one")

    def unserved() -> list[str]:
        return [what for what in one_patient.wrong() if "no sender serves" in what]

    assert unserved() == []
    batch_id = books.batch([State.PENDING])
    assert unserved() == ["no sender serves the provider two"]
    books.execute("UPDATE batches SET state = 'paused' WHERE id = :id", id=batch_id)
    assert unserved() == []


def test_where_the_file_is_not_the_providers_are_those_that_senders_served_within_the_hour(
    one_patient: Patient, books: HandmadeLedger
) -> None:
    books.serve("one", "two")
    batch_id = books.batch([State.PENDING], provider="two")
    books.execute("UPDATE messages SET updated_at_ms = :now WHERE batch_id = :id", now=now_ms(), id=batch_id)

    def of_providers() -> list[str]:
        return [what for what in one_patient.wrong() if "provider" in what]

    assert of_providers() == []
    books.execute(
        "UPDATE provider_senders SET seen_at_us = :past WHERE provider = 'two'", past=(now_ms() - 20_000) * 1000
    )
    assert of_providers() == ["no sender serves the provider two"]
    books.execute("DELETE FROM provider_senders WHERE provider = 'two'")
    assert of_providers() == ["1 message for the provider two, which there is not"]


@pytest.mark.parametrize("off_s", [3600, pytest.param(-3600, marks=pytest.mark.large)])
def test_clocks_that_differ_are_named(one_patient: Patient, off_s: int) -> None:
    def wrong(whose: str) -> str:
        return f"{whose} clock is 3600 s {'ahead of' if off_s > 0 else 'behind'} this machine's"

    one_patient.api.ahead_s = off_s
    assert near(one_patient.wrong()) == [wrong("the api's")]
    one_patient.api.ahead_s = 0
    login = f"{one_patient.vhost.user}:{one_patient.vhost.password}"
    with standing_in(one_patient.vhost.management_url) as management:
        one_patient.settings["SMS_MANAGEMENT_URL"] = management.url.replace("//", f"//{login}@")
        management.ahead_s = off_s
        assert near(one_patient.wrong()) == [wrong("RabbitMQ's")]
        management.ahead_s = 0
        assert one_patient.wrong() == []


async def test_a_database_that_takes_no_writes_is_named(one_patient: Patient, postgres_url: str) -> None:
    one_patient.settings["SMS_DATABASE_URL"] = postgres_url
    await take_no_writes(postgres_url, "on")
    assert one_patient.wrong() == ["PostgreSQL is read-only, and the services wait"]
    await take_no_writes(postgres_url, "off")
    assert one_patient.wrong() == []


def test_a_database_whose_clock_differs_is_named(one_patient: Patient, postgres_url: str) -> None:
    one_patient.settings["SMS_DATABASE_URL"] = url = postgres_url
    books, name = HandmadeLedger(url), url.rpartition("/")[2]
    books.execute(
        "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql"
        " AS 'SELECT pg_catalog.clock_timestamp() + interval ''1 hour'''"
    )
    books.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    assert near(one_patient.wrong()) == ["the database's clock is 3600 s ahead of this machine's"]
    books.execute(f"ALTER DATABASE {name} RESET search_path")
    assert one_patient.wrong() == []


def near(wrong: list[str]) -> list[str]:
    """A Date header has whole seconds: an hour may look one or two short."""
    return [what.replace("3599 s", "3600 s").replace("3598 s", "3600 s").replace("3601 s", "3600 s") for what in wrong]
