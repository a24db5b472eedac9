"""A broker of one test's own, to be killed, frozen, starved and robbed: RabbitMQ 4 in a container, or the system's."""

import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import docker
import requests
from docker.models.containers import Container

from tests.support.brokers import Broker, Vhost
from tests.support.machine import has_docker, missing
from tests.support.processes import eventually
from tools.node import Node, NotInstalledError, processes
from tools.node.ports import free_ports

KINDS = ("container", "node")
_IMAGE = "rabbitmq:4-management"
_START_TIMEOUT_S = 90
_SETTLED_S = 1.5


class OwnBroker(Protocol):
    """What faults need of a broker. Ports, users and data stay the same over `kill` and `start`."""

    broker: Broker

    def start(self) -> None:
        """Start it, and return when AMQP and the management API answer."""

    def stop(self) -> None:
        """End it in order."""

    def kill(self) -> None:
        """kill -9."""

    def freeze(self) -> None:
        """SIGSTOP: the connections stay open and nothing answers."""

    def thaw(self) -> None:
        """SIGCONT."""

    def ctl(self, *arguments: str) -> str:
        """rabbitmqctl; its standard output."""


class ContainerBroker:
    """RabbitMQ 4; its ports are published under fixed numbers, so that they survive a restart."""

    def __init__(self) -> None:
        amqp, management = free_ports(2)
        password = secrets.token_hex(8)
        self.broker = Broker("container", "127.0.0.1", amqp, f"http://127.0.0.1:{management}/", "sms", password)
        self._container: Container = docker.from_env().containers.run(
            _IMAGE,
            detach=True,
            hostname="rabbitmq",
            ports={"5672/tcp": ("127.0.0.1", amqp), "15672/tcp": ("127.0.0.1", management)},
            environment={"RABBITMQ_DEFAULT_USER": "sms", "RABBITMQ_DEFAULT_PASS": password},
        )
        _await_management(self.broker)

    def start(self) -> None:
        self._container.start()
        _await_management(self.broker)

    def stop(self) -> None:
        self._container.stop(timeout=60)

    def kill(self) -> None:
        self._container.kill("SIGKILL")
        self._container.wait()

    def freeze(self) -> None:
        # The kernel takes its time to freeze a container that is busy on a busy machine, and the engine then gives up.
        eventually(self._is_frozen)

    def _is_frozen(self) -> bool:
        with suppress(docker.errors.APIError):
            self._container.pause()
        self._container.reload()
        return bool(self._container.status == "paused")

    def thaw(self) -> None:
        self._container.unpause()

    def ctl(self, *arguments: str) -> str:
        status, output = self._container.exec_run(["rabbitmqctl", *arguments])
        text = output.decode()
        assert status == 0, text
        return text

    def enable(self, *plugins: str) -> None:
        """rabbitmq-plugins enable."""
        status, output = self._container.exec_run(["rabbitmq-plugins", "enable", *plugins])
        assert status == 0, output.decode()

    def close(self) -> None:
        self._container.remove(force=True, v=True)


class NodeBroker:
    """The system's RabbitMQ as a private node."""

    def __init__(self, folder: Path) -> None:
        self._node = Node.with_free_ports(folder)
        try:
            self._node.start()
        except NotInstalledError as error:
            missing(str(error))
        config = self._node.config
        self.broker = Broker(
            "node", "127.0.0.1", config.amqp_port, self._node.management_url, config.user, config.password
        )

    def start(self) -> None:
        self._node.start()

    def stop(self) -> None:
        self._node.stop()

    def kill(self) -> None:
        self._node.kill()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        return self._node.rabbitmqctl(*arguments)

    def close(self) -> None:
        self.thaw()
        self._node.kill()
        self._node.stop()

    def _signal(self, number: signal.Signals) -> None:
        vm = [process for process in processes.of_folder(self._node.folder) if process.name == "beam.smp"]
        processes.send(vm, number)


@contextmanager
def own_broker(kind: str, folder: Path) -> Iterator[OwnBroker]:
    """A broker of the kind ("container" or "node"); skips where the machine has none."""
    if kind == "container" and not has_docker():
        missing("no Docker engine: RabbitMQ 4 in a container is left out")
    broker = ContainerBroker() if kind == "container" else NodeBroker(folder)
    try:
        yield broker
    finally:
        broker.close()


def default_vhost(broker: OwnBroker) -> Vhost:
    """The virtual host `/`."""
    return Vhost(broker.broker, "%2F")


def settle_down() -> None:
    """Wait as long as RabbitMQ 3.10 takes until a new queue survives a kill (`Node.kill` says why)."""
    time.sleep(_SETTLED_S)


def _await_management(broker: Broker) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            # A queue declared and deleted on every node: it takes clients, and its queues have leaders.
            broker.api("GET", "health/checks/local-alarms")
            broker.api("GET", "aliveness-test/%2F")
            return
        except requests.RequestException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
