"""The api as a process, against a real broker: what a 202 means, and when there is none."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pika
import pytest
import requests

from shared.amqp.declare import declare
from shared.messages import BATCH_TYPE, read_batch
from shared.topology import BATCHES, build_topology
from tests.support.api import ApiProcess, Management, eventually


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.sqlite3"


@pytest.fixture
def management(vhost: Any) -> Management:
    return Management(vhost.management_url, vhost.user, vhost.password, vhost.name)


@pytest.fixture
def api(tmp_path: Path, vhost: Any, sqlite_url: str) -> Iterator[ApiProcess]:
    with ApiProcess(tmp_path, vhost.amqp_url, sqlite_url) as api:
        yield api.await_ready()


def test_a_202_is_one_persistent_message_with_the_whole_batch(api: ApiProcess, management: Management) -> None:
    answer = api.post(["+8613800138000", {"to": 13900139000, "variables": {"name": "Li", "n": 3}}])
    assert answer.status_code == 202
    accepted = answer.json()
    assert answer.headers["Location"] == f"/v1/batches/{accepted['batch_id']}" == accepted["links"]["self"]
    (message,) = management.messages(BATCHES)
    properties = message["properties"]
    assert (properties["delivery_mode"], properties["content_type"]) == (2, "application/json")
    assert properties["message_id"] == properties["correlation_id"] == accepted["batch_id"]
    assert (properties["type"], properties["app_id"]) == (BATCH_TYPE, "sms-api")
    batch = read_batch(properties["type"], message["payload"].encode())
    assert batch.batch_id == accepted["batch_id"]
    assert batch.recipients == ["+8613800138000", {"to": "13900139000", "variables": {"name": "Li", "n": "3"}}]
    assert batch.content == "hello"


def test_a_form_and_json_that_mean_the_same_are_one_batch_under_one_key(
    api: ApiProcess, management: Management
) -> None:
    form = {"mobiles[]": ["13800138000", "13900139000"], "content": "hello", "template_id": ""}
    by_form = requests.post(f"{api.url}/send-sms", data=form, headers={"Idempotency-Key": "k"}, timeout=30)
    by_json = api.post(["13800138000", "13900139000"], **{"Idempotency-Key": "k"})
    assert by_form.status_code == by_json.status_code == 202
    assert by_form.json() == by_json.json()
    assert len(management.messages(BATCHES)) == 1


def test_the_same_key_fifty_times_at_once_is_one_batch(api: ApiProcess, management: Management) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: api.post(**{"Idempotency-Key": "at once"}), range(50)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 409)
    accepted = [answer.json()["batch_id"] for answer in answers if answer.status_code == 202]
    assert accepted
    assert len({*accepted, api.post(**{"Idempotency-Key": "at once"}).json()["batch_id"]}) == 1
    assert len(management.messages(BATCHES)) == 1


def test_another_body_under_a_used_key_is_422(api: ApiProcess) -> None:
    assert api.post(**{"Idempotency-Key": "k"}).status_code == 202
    other = api.post(["+8613900139000"], **{"Idempotency-Key": "k"})
    assert other.status_code == 422
    assert other.headers["Content-Type"] == "application/problem+json"


def test_after_kill_9_the_retry_with_the_same_key_has_the_same_batch(api: ApiProcess) -> None:
    first = api.post(**{"Idempotency-Key": "k"}).json()["batch_id"]
    api.kill()
    api.start().await_ready()
    assert api.post(**{"Idempotency-Key": "k"}).json()["batch_id"] == first


def test_a_killed_process_leaves_a_key_in_redis_under_way_for_seconds_only(
    tmp_path: Path, vhost: Any, sqlite_url: str, redis_url: str, management: Management
) -> None:
    settings = {"SMS_REDIS_URL": redis_url, "SMS_PUBLISH_TIMEOUT_S": "0.5"}
    with ApiProcess(tmp_path, vhost.amqp_url, sqlite_url, **settings) as api:
        api.await_ready()
        assert api.post(**{"Idempotency-Key": "k"}).status_code == 202
        api.kill()
        api.start().await_ready()
        assert api.post(**{"Idempotency-Key": "k"}).status_code == 202
        other = api.post(["+8613900139000"], **{"Idempotency-Key": "k"})
        assert other.status_code == 422
    assert len(management.messages(BATCHES)) == 1


def test_redis_that_is_not_there_changes_nothing(tmp_path: Path, vhost: Any, sqlite_url: str) -> None:
    settings = {"SMS_REDIS_URL": "redis://127.0.0.1:1/0"}
    with ApiProcess(tmp_path, vhost.amqp_url, sqlite_url, **settings) as api:
        api.await_ready()
        first, again = api.post(**{"Idempotency-Key": "k"}), api.post(**{"Idempotency-Key": "k"})
        assert first.status_code == again.status_code == 202
        assert first.json() == again.json()
        assert api.get(first.headers["Location"]).json()["counts"] == {"pending": 1}


def test_it_listens_before_it_has_a_broker_and_says_503_until_then(tmp_path: Path, sqlite_url: str) -> None:
    with ApiProcess(tmp_path, "amqp://guest:guest@127.0.0.1:1/", sqlite_url) as api:
        api.await_listening()
        assert api.get("/readyz").status_code == 503
        answer = api.post()
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert api.stop() == 0


def test_it_accepts_while_the_database_is_not_there_and_reads_are_503(tmp_path: Path, vhost: Any) -> None:
    with ApiProcess(tmp_path, vhost.amqp_url, "postgresql://sms:x@127.0.0.1:1/sms") as api:
        api.await_listening()
        answer = eventually(lambda: (found := api.post(**{"Idempotency-Key": "k"})).ok and found, "a 202")
        assert answer.status_code == 202
        assert api.get(answer.headers["Location"]).status_code == 503
        assert api.get("/v1/batches").status_code == 503


def test_a_deleted_queue_is_never_a_202_and_comes_back(api: ApiProcess, management: Management) -> None:
    management.call("DELETE", f"queues/{{vhost}}/{BATCHES}")
    first = api.post()
    assert first.status_code == 503
    eventually(lambda: api.post().status_code == 202, "the queue is declared again")
    assert len(management.messages(BATCHES)) == 1


def test_a_deleted_exchange_comes_back_too(api: ApiProcess, management: Management) -> None:
    management.call("DELETE", f"exchanges/{{vhost}}/{BATCHES}")
    assert api.post().status_code == 503
    eventually(lambda: api.post().status_code == 202, "the exchange is declared again")
    assert len(management.messages(BATCHES)) == 1


def test_a_removed_binding_comes_back_too(api: ApiProcess, management: Management) -> None:
    management.call("DELETE", f"bindings/{{vhost}}/e/{BATCHES}/q/{BATCHES}/{BATCHES}")
    assert api.post().status_code == 503
    eventually(lambda: api.post().status_code == 202, "the binding is declared again")


def test_closed_connections_are_opened_again(api: ApiProcess, management: Management, vhost: Any) -> None:
    def ours() -> list[str]:
        return [connection["name"] for connection in management.call("GET", "connections")
                if connection["vhost"] == vhost.name]  # fmt: skip

    for name in eventually(ours, "the connection is listed"):
        management.call("DELETE", f"connections/{requests.utils.quote(name, safe='')}")
    eventually(lambda: api.post().status_code == 202, "it is connected again")


def test_a_queue_with_other_arguments_ends_the_process_with_the_argument_in_its_log(
    tmp_path: Path, vhost: Any, sqlite_url: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        wrong = {"x-queue-type": "quorum", "x-delivery-limit": 3}
        connection.channel().queue_declare(BATCHES, durable=True, arguments=wrong)
    with ApiProcess(tmp_path, vhost.amqp_url, sqlite_url) as api:
        assert api.process.wait(60) == 1
        (line,) = [json.loads(line) for line in api.log.splitlines() if '"critical"' in line]
    assert line["event"] == "topology_mismatch"
    assert BATCHES in line["reason"]
    assert "it should be" in line["reason"]


def test_a_number_given_to_the_api_is_in_no_log_line(api: ApiProcess) -> None:
    api.post(["+8613800138000"])
    api.post(["+8613800138000"], **{"Idempotency-Key": "\t"})
    requests.post(f"{api.url}/v1/batches", json={"+8613800138000": 1}, timeout=30)
    api.get("/v1/batches?cursor=+8613800138000")
    assert api.stop() == 0
    assert "13800138000" not in api.log
    assert "hello" not in api.log


def test_the_topology_that_the_api_declares_is_the_one_that_the_others_expect(vhost: Any, api: ApiProcess) -> None:
    declare(vhost.amqp_url, build_topology((5, 30, 120, 600, 3600)))
    assert api.get("/readyz").status_code == 200
