"""Real RabbitMQ brokers for the tests: the newest in a container, the system's as a private node."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from testcontainers.community.rabbitmq import RabbitMqContainer

from tests.support.machine import NotHere, has_docker
from tests.support.names import unlike_a_number
from tests.support.processes import eventually
from tools.node import Node, NotInstalledError

_TIMEOUT_S = 30


@dataclass(frozen=True)
class Broker:
    """A running broker and its administrator."""

    kind: str
    host: str
    amqp_port: int
    management_url: str
    user: str
    password: str
    metrics_url: str = ""
    """Where it tells Prometheus about itself, of the brokers that tests share."""

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Call the management API; the JSON of its answer, None for an empty one."""
        response = requests.request(
            method, f"{self.management_url}api/{path}", auth=(self.user, self.password), timeout=_TIMEOUT_S, **options
        )
        response.raise_for_status()
        return response.json() if response.content else None


@dataclass(frozen=True)
class Vhost:
    """A virtual host of one test's own."""

    broker: Broker
    name: str

    @property
    def management_url(self) -> str:
        return self.broker.management_url

    @property
    def user(self) -> str:
        return self.broker.user

    @property
    def password(self) -> str:
        return self.broker.password

    @property
    def amqp_url(self) -> str:
        broker = self.broker
        return f"amqp://{broker.user}:{broker.password}@{broker.host}:{broker.amqp_port}/{self.name}"

    def messages(self, queue: str, count: int = 1000) -> list[dict[str, Any]]:
        """Look at a queue's messages as the management UI's "Get messages" does; they stay there."""
        body = {"count": count, "ackmode": "ack_requeue_true", "encoding": "auto"}
        found = self.broker.api("POST", f"queues/{self.name}/{queue}/get", json=body)
        assert isinstance(found, list)
        return found


@contextmanager
def running_container() -> Iterator[Broker]:
    """RabbitMQ 4 in a container; NotHere where there is no Docker."""
    if not has_docker():
        raise NotHere("no Docker engine: RabbitMQ 4 in a container is left out")
    password = secrets.token_hex(8)
    container = RabbitMqContainer("rabbitmq:4-management", username="sms", password=password)
    container.with_exposed_ports(15672, 15692)
    with container:
        host = container.get_container_host_ip()
        management_url = f"http://{host}:{container.get_exposed_port(15672)}/"
        metrics_url = f"http://{host}:{container.get_exposed_port(15692)}/metrics"
        amqp_port = int(container.get_exposed_port(5672))
        yield Broker("container", host, amqp_port, management_url, "sms", password, metrics_url)


@contextmanager
def running_node(folder: Path) -> Iterator[Broker]:
    """The system's RabbitMQ as a private node; NotHere where it is not installed."""
    node = Node.with_free_ports(folder)
    try:
        node.start()
    except NotInstalledError as error:
        raise NotHere(str(error)) from None
    try:
        config = node.config
        urls = {"management_url": node.management_url, "metrics_url": node.prometheus_url}
        yield Broker("node", "127.0.0.1", config.amqp_port, user=config.user, password=config.password, **urls)
    finally:
        node.kill()
        node.stop()


def _made(broker: Broker, vhost: str) -> bool:
    """Whether the virtual host is there; a broker that has just started may not make one yet."""
    try:
        broker.api("PUT", f"vhosts/{vhost}")
    except requests.RequestException:
        return False
    return True


@contextmanager
def own_vhost(broker: Broker) -> Iterator[Vhost]:
    """A fresh virtual host, removed at the end."""
    name = f"test-{unlike_a_number()}"
    with suppress(AssertionError):
        eventually(lambda: _made(broker, name))
    broker.api("PUT", f"vhosts/{name}")  # the same again changes nothing; where it never worked, this says why
    try:
        yield Vhost(broker, name)
    finally:
        broker.api("DELETE", f"vhosts/{name}")
