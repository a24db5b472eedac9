"""The private node with a real RabbitMQ: its life, its data, its neighbours, and what it leaves behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import pytest
import requests

from tools.node import Node, NotInstalledError, files, install, processes

QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    try:
        install.scripts_folder()
    except NotInstalledError as error:
        _unavailable(str(error))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node.with_free_ports(tmp_path_factory.mktemp("node") / "短信 批次")
    try:
        node.start()
        yield node
    finally:
        node.kill()  # its data are thrown away: an orderly stop would only take longer
        node.stop()


def test_the_broker_and_both_web_addresses_answer(node: Node) -> None:
    with pika.BlockingConnection(pika.URLParameters(node.amqp_url)) as connection:
        assert connection.is_open
    credentials = (node.config.user, node.config.password)
    overview = requests.get(f"{node.management_url}api/overview", auth=credentials, timeout=10)
    assert overview.json()["node"] == node.config.name
    assert "rabbitmq_identity_info" in requests.get(node.prometheus_url, timeout=10).text


def test_guest_is_unknown_and_ours_is_the_only_user(node: Node) -> None:
    assert requests.get(f"{node.management_url}api/overview", auth=("guest", "guest"), timeout=10).status_code == 401
    assert node.rabbitmqctl("-q", "list_users", "--no-table-headers").split() == ["sms", "[administrator]"]


def test_nothing_of_the_node_listens_beyond_loopback(node: Node) -> None:
    listening = [
        connection.laddr.ip
        for process in processes.of_folder(node.folder)
        for connection in psutil.Process(process.pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 5
    assert set(listening) <= {"127.0.0.1", "::1"}


def test_starting_a_running_node_leaves_it_as_it_is(node: Node) -> None:
    before = processes.of_folder(node.folder)
    Node.load(node.folder).start()
    assert {found.pid for found in before if found.name == "beam.smp"} <= {
        found.pid for found in processes.of_folder(node.folder)
    }


@pytest.mark.large  # test_api_broker_faults.py has it with an api
def test_a_confirmed_message_outlives_kill_minus_9(node: Node) -> None:
    _publish(node, "kept", b"still here")
    assert processes.wait_until(lambda: _is_recorded(node, "kept"), timeout_s=20)
    node.kill()
    assert not node.running()
    node.start()
    assert _take(node, "kept") == b"still here"


def test_two_nodes_run_side_by_side_and_one_stops_without_the_other(node: Node, tmp_path: Path) -> None:
    other = Node.with_free_ports(tmp_path / "other")
    try:
        other.start()
        _publish(node, "mine", b"first")
        _publish(other, "mine", b"second")
        assert _take(other, "mine") == b"second"
        other.stop()
        assert _take(node, "mine") == b"first"
    finally:
        other.kill()
        other.stop()


def test_started_by_a_command_it_outlives_it_and_stop_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    try:
        assert "********" in _command("start", folder)
        password = Node.load(folder).config.password
        assert password not in _command("status", folder)
        assert password in _command("status", folder, "--show-password")
        assert _processes_naming(folder)
        assert "is stopped" in _command("stop", folder)
        assert _processes_naming(folder) == []
    finally:
        Node.load_or_create(folder).stop()


def _command(command: str, folder: Path, *options: str) -> str:
    arguments = [sys.executable, "-m", "tools.node", command, "--folder", str(folder), *options]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _processes_naming(folder: Path) -> list[str]:
    """The live processes with `folder` on their command line or in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            told = " ".join([*process.cmdline(), *process.environ().values()])
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if str(folder) in told and process.pid != os.getpid():
            found.append(f"{process.pid} {told}")
    return found


def _publish(node: Node, queue: str, body: bytes) -> None:
    with _connected(node) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True, arguments=QUORUM)
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)


def _connected(node: Node) -> pika.BlockingConnection:
    try:
        return pika.BlockingConnection(pika.URLParameters(node.amqp_url))
    except pika.exceptions.AMQPConnectionError as error:
        said = files.last_words(node.config)
        raise AssertionError(f"does not answer, running: {node.running()}; its log says: {said}") from error


def _is_recorded(node: Node, queue: str) -> bool:
    """Whether the broker's list of quorum queues on disk has the queue: it does half a second after the declaration.

    A node killed before that comes back with a queue that never elects a leader (3.10.8).
    """
    lists = (node.folder / "mnesia").rglob("names.dets")
    return any(f"_{queue}".encode() in path.read_bytes() for path in lists)


def _take(node: Node, queue: str) -> bytes | None:
    """The queue's next message, waited for: after a restart a quorum queue first elects its leader."""
    taken: list[bytes] = []
    with pika.BlockingConnection(pika.URLParameters(node.amqp_url)) as connection:
        channel = connection.channel()

        def took_one() -> bool:
            _, _, body = channel.basic_get(queue, auto_ack=True)
            taken.extend([] if body is None else [body])
            return bool(taken)

        processes.wait_until(took_one, timeout_s=20)
    return taken[0] if taken else None


def _unavailable(reason: str) -> None:
    """Skip with the reason; in CI, where everything must be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
