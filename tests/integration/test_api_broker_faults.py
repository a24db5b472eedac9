"""The api while its broker is killed, frozen, or out of memory: never a 202 without a confirm, and back in time."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from shared.topology import BATCHES
from tests.conftest import Start
from tests.support.api import post
from tests.support.brokers import Broker, Vhost
from tests.support.machine import missing
from tests.support.processes import ServiceProcess, eventually
from tools.node import Node, NotInstalledError, processes

RECOVERY_S = 60


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node.with_free_ports(tmp_path / "node")
    try:
        node.start()
    except NotInstalledError as error:
        missing(str(error))
    try:
        yield node
    finally:
        node.kill()
        node.stop()


@pytest.fixture
def api(start: Start, node: Node, sqlite_url: str) -> ServiceProcess:
    settings = {"SMS_AMQP_URL": node.amqp_url, "SMS_DATABASE_URL": sqlite_url, "SMS_PUBLISH_TIMEOUT_S": "2"}
    return start("services.api", **settings)


def in_queue(node: Node) -> set[str]:
    config = node.config
    broker = Broker("node", "127.0.0.1", config.amqp_port, node.management_url, config.user, config.password)
    return {message["properties"]["message_id"] for message in Vhost(broker, "%2F").messages(BATCHES)}


def test_after_kill_9_of_the_broker_every_202_is_in_the_queue_and_new_ones_come(
    api: ServiceProcess, node: Node
) -> None:
    accepted = [post(api).json()["batch_id"] for _ in range(20)]
    node.kill()
    assert post(api).status_code == 503
    node.start()
    again = eventually(lambda: (answer := post(api)).ok and answer.json()["batch_id"], RECOVERY_S)
    assert {*accepted, again} <= eventually(lambda: in_queue(node), RECOVERY_S)


def test_a_frozen_broker_is_503_within_the_publish_timeout_and_recovers(api: ServiceProcess, node: Node) -> None:
    assert post(api).ok
    frozen = [psutil.Process(process.pid) for process in processes.of_folder(node.folder)]
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    try:
        assert post(api, Idempotency_Key="k").status_code == 503
        assert post(api, Idempotency_Key="k").status_code == 503
    finally:
        for process in frozen:
            process.send_signal(signal.SIGCONT)
    eventually(lambda: post(api, Idempotency_Key="k").ok, RECOVERY_S)
    accepted = post(api, Idempotency_Key="k").json()["batch_id"]
    assert accepted in eventually(lambda: in_queue(node), RECOVERY_S)


def test_a_memory_alarm_is_503_and_its_end_is_202(api: ServiceProcess, node: Node) -> None:
    node.rabbitmqctl("set_vm_memory_high_watermark", "0.00000001")
    try:
        answers = [post(api, Idempotency_Key=f"k{number}").status_code for number in range(4)]
        assert set(answers) == {503}
    finally:
        node.rabbitmqctl("set_vm_memory_high_watermark", "0.6")
    eventually(lambda: post(api, Idempotency_Key="k0").ok, RECOVERY_S)


@pytest.mark.large  # the fault suite kills the api at that very point
def test_kill_9_before_the_confirm_gives_no_202_and_the_retry_has_the_keys_own_batch(
    start: Start, node: Node, sqlite_url: str, redis_url: str
) -> None:
    settings = {"SMS_AMQP_URL": node.amqp_url, "SMS_DATABASE_URL": sqlite_url, "SMS_REDIS_URL": redis_url}
    # In Redis the request that dies counts as under way for as long as it could have taken.
    api = start("services.api", SMS_PUBLISH_TIMEOUT_S="10", **settings)
    node.rabbitmqctl("set_vm_memory_high_watermark", "0.00000001")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, api, Idempotency_Key="k")
        time.sleep(1)  # the request is now between its publish and the confirm, which cannot come
        api.kill()
        assert waiting.exception() is not None
    node.rabbitmqctl("set_vm_memory_high_watermark", "0.6")
    api.start()
    eventually(lambda: post(api, Idempotency_Key="k").ok, RECOVERY_S)
    accepted = post(api, Idempotency_Key="k").json()["batch_id"]
    assert in_queue(node) == {accepted}
