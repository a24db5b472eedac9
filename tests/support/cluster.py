"""Three RabbitMQ nodes as docker-compose.cluster.yml has them, each with ports of its own, to be killed one by one."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.support.brokers import Broker, Vhost
from tests.support.compose import Compose, has_compose
from tests.support.machine import missing
from tests.support.processes import eventually
from tools.node.ports import free_ports

NODES = ("rabbitmq", "rabbitmq2", "rabbitmq3")
_UP_TIMEOUT_S = 120
_VHOST = "%2F"


class Cluster:
    """The brokers only: the services run as processes. Ports and data stay the same over `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        amqp, management = free_ports(len(NODES)), free_ports(len(NODES))
        password = secrets.token_hex(8)
        published = {node: {"ports": [f"127.0.0.1:{port}:5672"]} for node, port in zip(NODES, amqp, strict=True)}
        ports_file = folder / "ports.yml"
        ports_file.write_text(json.dumps({"services": published}))
        self._compose = Compose(
            folder,
            ["docker-compose.cluster.yml", ports_file],
            SMS_RABBITMQ_PASSWORD=password,
            SMS_RABBITMQ_COOKIE=secrets.token_hex(12),
            SMS_MANAGEMENT_PORT=str(management[0]),
            SMS_MANAGEMENT_PORT_2=str(management[1]),
            SMS_MANAGEMENT_PORT_3=str(management[2]),
        )
        self.brokers = {
            node: Broker("cluster", "127.0.0.1", ports[0], f"http://127.0.0.1:{ports[1]}/", "sms", password)
            for node, ports in zip(NODES, zip(amqp, management, strict=True), strict=True)
        }
        self._killed: dict[str, str] = {}

    @property
    def vhost(self) -> Vhost:
        """The virtual host `/`, asked over the first node."""
        return Vhost(self.brokers[NODES[0]], _VHOST)

    @property
    def amqp_urls(self) -> str:
        """All three, as SMS_AMQP_URL takes them."""
        return ",".join(Vhost(broker, _VHOST).amqp_url for broker in self.brokers.values())

    def up(self) -> None:
        """Start all three, and return when they are one cluster."""
        self._compose.run("up", "--detach", "--wait", *NODES)
        for node in NODES:
            self._await_all_seen_by(node)

    def down(self) -> None:
        """Leave nothing."""
        self._compose.down()

    def leader(self, queue: str) -> str:
        """The node that leads the queue."""
        return eventually(lambda: self._queue(queue).get("leader", "").removeprefix("rabbit@"), _UP_TIMEOUT_S, 0.5)

    def kill(self, node: str) -> None:
        """kill -9."""
        self._killed[node] = self._compose.kill(node)

    def start(self, *nodes: str) -> None:
        """Start nodes that were killed; after a majority was away they need each other, so all are started at once."""
        for node in nodes:
            self._compose.start(self._killed.pop(node))

    def restart(self, node: str) -> None:
        """Stop it in order, start it, and return when every queue has all its members again."""
        self._compose.run("restart", node)
        self.await_whole()

    def await_whole(self) -> None:
        """Return when all three run and every queue has three members online."""
        for node in NODES:
            self._await_all_seen_by(node)
        eventually(self._is_whole, _UP_TIMEOUT_S, 0.5)

    def members(self) -> dict[str, int]:
        """How many members each queue has, whether they are online or not."""
        return {queue["name"]: len(queue.get("members", ())) for queue in self._queues()}

    def log(self, node: str) -> str:
        """What the node has logged."""
        return self._compose.run("logs", "--no-color", "--no-log-prefix", node)

    def _is_whole(self) -> bool:
        return all(len(queue.get("online", ())) == len(NODES) for queue in self._queues())

    def _await_all_seen_by(self, node: str) -> None:
        def running() -> bool:
            try:
                seen = self.brokers[node].api("GET", "nodes")
            except requests.RequestException:
                return False
            return [found["running"] for found in seen] == [True] * len(NODES)

        eventually(running, _UP_TIMEOUT_S, 0.5)

    def _queue(self, name: str) -> dict[str, Any]:
        return next((queue for queue in self._queues() if queue["name"] == name), {})

    def _queues(self) -> list[dict[str, Any]]:
        alive = next(broker for node, broker in self.brokers.items() if node not in self._killed)
        queues = alive.api("GET", f"queues/{_VHOST}")
        assert isinstance(queues, list)
        return queues


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """The cluster, up; taken down at the end whatever happened. Skips where there is no Compose."""
    if not has_compose():
        missing("no Docker engine with Compose: the cluster of three is left out")
    cluster = Cluster(folder)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
