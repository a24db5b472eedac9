"""The api as a process, against a real broker: what a 202 means, and when there is none."""

import asyncio
import hashlib
import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

import pika
import pytest
import requests

from services.api.intake.validation import JSON, prepare
from shared.amqp.declare import declare
from shared.domain.ids import keyed_batch_id
from shared.domain.states import State
from shared.messages import BATCH_TYPE, read_batch
from shared.topology import BATCHES, build_topology
from tests.conftest import Start
from tests.support.api import get, is_alive, post
from tests.support.brokers import Vhost
from tests.support.handmade_ledger import HandmadeLedger
from tests.support.processes import ServiceProcess, eventually

OLD_KEY, NEW_KEY = "the-old-key-of-the-tests", "the-new-key-of-the-tests"


@pytest.fixture
def api(start: Start, vhost: Vhost, sqlite_url: str) -> ServiceProcess:
    return start("services.api", SMS_AMQP_URL=vhost.amqp_url, SMS_DATABASE_URL=sqlite_url)


def test_a_202_is_one_persistent_message_with_the_whole_batch(api: ServiceProcess, vhost: Vhost) -> None:
    answer = post(api, ["+8613800138000", {"to": 13900139000, "variables": {"name": "Li", "n": 3}}])
    assert answer.status_code == 202
    accepted = answer.json()
    assert answer.headers["Location"] == f"/v1/batches/{accepted['batch_id']}" == accepted["links"]["self"]
    (message,) = vhost.messages(BATCHES)
    properties = message["properties"]
    assert (properties["delivery_mode"], properties["content_type"]) == (2, "application/json")
    assert properties["message_id"] == properties["correlation_id"] == accepted["batch_id"]
    assert (properties["type"], properties["app_id"]) == (BATCH_TYPE, "sms-api")
    batch = read_batch(properties["type"], message["payload"].encode())
    assert batch.batch_id == accepted["batch_id"]
    assert batch.recipients == ["+8613800138000", {"to": "13900139000", "variables": {"name": "Li", "n": "3"}}]
    assert batch.content == "hello"


def test_a_form_and_json_that_mean_the_same_are_one_batch_under_one_key(api: ServiceProcess, vhost: Vhost) -> None:
    form = {"mobiles[]": ["13800138000", "13900139000"], "content": "hello", "template_id": ""}
    by_form = requests.post(f"{api.url}/send-sms", data=form, headers={"Idempotency-Key": "k"}, timeout=30)
    by_json = post(api, ["13800138000", "13900139000"], Idempotency_Key="k")
    assert by_form.status_code == by_json.status_code == 202
    assert by_form.json() == by_json.json()
    assert len(vhost.messages(BATCHES)) == 1


def test_a_form_with_a_file_and_one_in_gbk_are_the_same_batch(api: ServiceProcess, vhost: Vhost) -> None:
    headers, numbers = {"Idempotency-Key": "k"}, "13800138000\r\n13900139000\r\n"
    url = f"{api.url}/send-sms/"
    file = {"mobiles": ("numbers.txt", numbers, "text/plain")}
    multipart = requests.post(url, files=file, data={"content": "你好"}, headers=headers, timeout=30)
    form = urlencode({"mobiles": numbers, "content": "你好", "_charset_": "GBK"}, encoding="gbk")
    type_of_form = {"Content-Type": "application/x-www-form-urlencoded"}
    in_gbk = requests.post(url, data=form, headers=headers | type_of_form, timeout=30)
    assert (multipart.status_code, in_gbk.status_code) == (202, 202)
    assert multipart.json() == in_gbk.json()
    (message,) = vhost.messages(BATCHES)
    batch = read_batch(message["properties"]["type"], message["payload"].encode())
    assert (batch.recipients, batch.content) == (["13800138000", "13900139000"], "你好")


def test_the_same_key_fifty_times_at_once_is_one_batch(api: ServiceProcess, vhost: Vhost) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: post(api, Idempotency_Key="at once"), range(50)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 409)
    accepted = [answer.json()["batch_id"] for answer in answers if answer.status_code == 202]
    assert accepted
    assert len({*accepted, post(api, Idempotency_Key="at once").json()["batch_id"]}) == 1
    assert len(vhost.messages(BATCHES)) == 1


def test_another_body_under_a_used_key_is_422(api: ServiceProcess) -> None:
    assert post(api, Idempotency_Key="k").status_code == 202
    other = post(api, ["+8613900139000"], Idempotency_Key="k")
    assert other.status_code == 422
    assert other.headers["Content-Type"] == "application/problem+json"


def test_after_kill_9_the_retry_with_the_same_key_has_the_same_batch(api: ServiceProcess) -> None:
    first = post(api, Idempotency_Key="k").json()["batch_id"]
    api.kill()
    api.start()
    assert post(api, Idempotency_Key="k").json()["batch_id"] == first


def test_with_redis_another_api_knows_what_the_first_has_accepted(
    start: Start, vhost: Vhost, sqlite_url: str, redis_url: str
) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": sqlite_url, "SMS_REDIS_URL": redis_url}
    first, second = start("services.api", **settings), start("services.api", **settings)
    accepted = post(first, Idempotency_Key="k")
    assert post(second, Idempotency_Key="k").json() == accepted.json()
    assert post(second, ["+8613900139000"], Idempotency_Key="k").status_code == 422
    assert get(second, accepted.headers["Location"]).json()["counts"] == {"pending": 1}
    assert len(vhost.messages(BATCHES)) == 1


def test_redis_that_is_not_there_changes_nothing(start: Start, vhost: Vhost, sqlite_url: str) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": sqlite_url, "SMS_REDIS_URL": "redis://127.0.0.1:1/"}
    api = start("services.api", **settings)
    first, again = post(api, Idempotency_Key="k"), post(api, Idempotency_Key="k")
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert get(api, first.headers["Location"]).json()["counts"] == {"pending": 1}
    assert '"server":"127.0.0.1:1"' in api.log


def test_it_listens_before_it_has_a_broker_and_says_503_until_then(start: Start, sqlite_url: str) -> None:
    settings = {"SMS_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/", "SMS_DATABASE_URL": sqlite_url}
    api = start("services.api", wait=False, **settings)
    eventually(lambda: is_alive(api))
    assert get(api, "/readyz").status_code == 503
    answer = post(api)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert api.stop() == 0


def test_it_accepts_while_the_database_is_not_there_and_reads_are_503(start: Start, vhost: Vhost) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": "postgresql://sms:x@127.0.0.1:1/sms"}
    api = start("services.api", wait=False, **settings)
    eventually(lambda: is_alive(api))
    eventually(lambda: post(api, Idempotency_Key="k").ok)
    answer = post(api, Idempotency_Key="k")
    assert answer.status_code == 202
    assert get(api, answer.headers["Location"]).status_code == 503
    assert get(api, "/v1/batches").status_code == 503
    assert get(api, "/readyz").json()["reasons"]["ledger"].startswith("PostgreSQL at 127.0.0.1:1: ")


def test_a_deleted_queue_is_never_a_202_and_comes_back(api: ServiceProcess, vhost: Vhost) -> None:
    vhost.broker.api("DELETE", f"queues/{vhost.name}/{BATCHES}")
    first = post(api)
    assert first.status_code == 503
    eventually(lambda: post(api).ok)
    assert len(vhost.messages(BATCHES)) == 1


def test_a_deleted_exchange_comes_back_too(api: ServiceProcess, vhost: Vhost) -> None:
    vhost.broker.api("DELETE", f"exchanges/{vhost.name}/{BATCHES}")
    assert post(api).status_code == 503
    eventually(lambda: post(api).ok)
    assert len(vhost.messages(BATCHES)) == 1


def test_a_removed_binding_comes_back_too(api: ServiceProcess, vhost: Vhost) -> None:
    vhost.broker.api("DELETE", f"bindings/{vhost.name}/e/{BATCHES}/q/{BATCHES}/{BATCHES}")
    assert post(api).status_code == 503
    eventually(lambda: post(api).ok)


def test_closed_connections_are_opened_again(api: ServiceProcess, vhost: Vhost) -> None:
    def names() -> list[str]:
        connections = vhost.broker.api("GET", "connections")
        return [connection["name"] for connection in connections if connection["vhost"] == vhost.name]

    for name in eventually(names):
        vhost.broker.api("DELETE", f"connections/{quote(name, safe='')}")
    eventually(lambda: post(api).ok)


def test_a_queue_with_other_arguments_ends_the_process_with_the_argument_in_its_log(
    start: Start, vhost: Vhost, sqlite_url: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        wrong = {"x-queue-type": "quorum", "x-delivery-limit": 3}
        connection.channel().queue_declare(BATCHES, durable=True, arguments=wrong)
    api = start("services.api", wait=False, SMS_AMQP_URL=vhost.amqp_url, SMS_DATABASE_URL=sqlite_url)
    assert api.wait() == 1
    (line,) = [json.loads(line) for line in api.log.splitlines() if '"critical"' in line]
    assert line["event"] == "topology_mismatch"
    assert BATCHES in line["reason"]
    assert "it should be" in line["reason"]


def test_a_number_given_to_the_api_is_in_no_log_line(api: ServiceProcess) -> None:
    post(api, ["+8613800138000"])
    post(api, ["+8613800138000"], Idempotency_Key="é")
    requests.post(f"{api.url}/v1/batches", json={"+8613800138000": 1}, timeout=30)
    get(api, "/v1/batches?cursor=+8613800138000")
    assert api.stop() == 0
    assert "13800138000" not in api.log
    assert "hello" not in api.log


def test_a_request_line_names_client_key_and_batch_and_nothing_that_the_path_says(
    start: Start, vhost: Vhost, sqlite_url: str
) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": sqlite_url}
    api = start("services.api", **settings, SMS_API_KEYS=NEW_KEY)
    key = {"Authorization": f"Bearer {NEW_KEY}"}
    batch_id = keyed_batch_id("principal", "key")
    for path in (f"/v1/batches/{batch_id.upper()}", "/v1/batches/the-secret", "/the-secret", f"/v1/{'x' * 5000}"):
        get(api, path, headers=key)
    get(api, f"/v1/batches/{batch_id}", headers={"Authorization": "Bearer the-secret"})
    assert api.stop() == 0
    assert "the-secret" not in api.log
    assert max(len(line) for line in api.log.splitlines()) <= 1024
    lines = [line for line in map(json.loads, api.log.splitlines()) if line["event"] == "request"]
    digest = hashlib.sha256(NEW_KEY.encode()).hexdigest()[:8]
    assert [(line["status"], line["batch_id"], line["key_id"]) for line in lines] == [
        (200, batch_id, digest),
        (404, None, digest),
        (404, None, None),
        (404, None, digest),
        (401, batch_id, None),
    ]
    assert {line["client"] for line in lines} == {"127.0.0.1"}


def test_of_many_refusals_a_few_are_logged_and_the_others_counted(api: ServiceProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: get(api, "/nowhere").status_code, range(200)))
    assert post(api).status_code == 202
    assert api.stop() == 0
    lines = [json.loads(line) for line in api.log.splitlines()]
    written = [line for line in lines if line["event"] == "request" and line["status"] == 404]
    more = sum(line["more"] for line in lines if line["event"] == "requests_refused_more")
    assert len(written) + more == len(statuses) == 200
    assert any(line["event"] == "request" and line["status"] == 202 for line in lines)


def test_wrong_keys_are_slowed_down_and_a_right_one_from_the_same_address_is_served(
    start: Start, vhost: Vhost, sqlite_url: str
) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": sqlite_url}
    api = start("services.api", **settings, SMS_API_KEYS=NEW_KEY)

    def tried(number: int) -> requests.Response:
        return get(api, "/v1/batches", headers={"Authorization": f"Bearer wrong-{number}"} if number % 2 else {})

    with ThreadPoolExecutor(8) as pool:
        wrong = pool.map(tried, range(300))
        right = [post(api, Authorization=f"Bearer {NEW_KEY}").status_code for _ in range(20)]
        answers = list(wrong)
    assert set(right) == {202}
    assert {answer.status_code for answer in answers} == {401, 429}
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert all(answer.headers["Retry-After"] == "1" for answer in answers if answer.status_code == 429)


def test_the_topology_that_the_api_declares_is_the_one_that_the_others_expect(
    vhost: Vhost, api: ServiceProcess
) -> None:
    asyncio.run(declare(vhost.amqp_url, build_topology((5, 30, 120, 600, 3600))))
    assert get(api, "/readyz").status_code == 200


def test_sigterm_lets_the_request_under_way_have_its_202_and_takes_no_other(api: ServiceProcess, vhost: Vhost) -> None:
    body = b'{"recipients": ["+8613800138000"], "content": "hello"}'
    head = (
        "POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as connection:
        connection.sendall(head.encode() + body[:10])
        assert get(api, "/healthz").ok  # so the head sent before is being handled
        api.signal(signal.SIGTERM)
        eventually(lambda: not is_alive(api))
        connection.sendall(body[10:])
        assert connection.recv(100).startswith(b"HTTP/1.1 202 ")
    assert api.wait() == 0
    assert len(vhost.messages(BATCHES)) == 1


def test_metrics_tell_what_was_accepted(api: ServiceProcess) -> None:
    post(api, ["1", "2", "3"])
    lines = get(api, "/metrics").text.splitlines()
    assert "sms_api_batches_accepted_total 1.0" in lines
    assert "sms_api_recipients_accepted_total 3.0" in lines
    assert "sms_api_publish_seconds_count 1.0" in lines
    assert 'sms_api_requests_total{method="POST",route="/v1/batches",status="202"} 1.0' in lines


def test_a_request_sent_again_under_another_api_key_is_the_same_batch(
    start: Start, vhost: Vhost, sqlite_url: str
) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": sqlite_url}
    old = start("services.api", **settings, SMS_API_KEYS=OLD_KEY)
    both = start("services.api", **settings, SMS_API_KEYS=f"{NEW_KEY},{OLD_KEY}")
    given = [
        post(api, Idempotency_Key="k", Authorization=f"Bearer {key}").json()["batch_id"]
        for api, key in ((old, OLD_KEY), (both, NEW_KEY), (both, OLD_KEY))
    ]
    assert len(set(given)) == 1


def test_a_batch_that_the_version_before_accepted_under_a_key_is_not_accepted_again(
    start: Start, vhost: Vhost, sqlite_url: str
) -> None:
    principal = hashlib.sha256(OLD_KEY.encode()).hexdigest()  # the version before had one id for each API key
    body = {"recipients": ["+8613800138000"], "content": "hello"}
    fingerprint = prepare(json.dumps(body).encode(), JSON, 1).fingerprint
    accepted = keyed_batch_id(principal, "k")
    HandmadeLedger(sqlite_url).batch([State.SENT], id=accepted, fingerprint=fingerprint)
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": sqlite_url}
    api = start("services.api", **settings, SMS_API_KEYS=f"{NEW_KEY},{OLD_KEY}")
    for key in (NEW_KEY, OLD_KEY):
        answer = post(api, Idempotency_Key="k", Authorization=f"Bearer {key}")
        assert (answer.status_code, answer.json()["batch_id"]) == (202, accepted)
    assert vhost.messages(BATCHES) == []
    other = post(api, ["+8613900139000"], Idempotency_Key="k", Authorization=f"Bearer {NEW_KEY}")
    assert other.status_code == 422
