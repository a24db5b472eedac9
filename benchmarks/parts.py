"""What a measurement runs on: broker, database, provider stub and the services, all of its own and on this machine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.rabbitmq import RabbitMqContainer

from tests.support.machine import has_docker
from tests.support.processes import ServiceProcess, eventually
from tools.node import Node

_PASSWORD = "benchmark"  # noqa: S105 - of containers that live for minutes


@dataclass
class Parts:
    """The running services and where they are; `versions` names what they run on."""

    settings: dict[str, str]
    versions: str
    folder: Path
    simulator: ServiceProcess
    stack: ExitStack

    def start(self, module: str, **settings: str) -> ServiceProcess:
        """Start a service; it ends with the parts."""
        process = ServiceProcess(module, {**self.settings, **settings}, self.folder)
        self.stack.callback(process.end)
        return process.start()


@contextmanager
def running_parts(folder: Path) -> Iterator[Parts]:
    """RabbitMQ 4 and PostgreSQL in containers where there is Docker; else the system's RabbitMQ, and SQLite."""
    with ExitStack() as stack:
        urls = _in_containers(stack) if has_docker() else _of_the_system(stack, folder)
        amqp_url, database_url, versions = urls
        simulator = ServiceProcess("tools.simulator", {}, folder)
        stack.callback(simulator.end)
        simulator.start()
        settings = {
            "SMS_AMQP_URL": amqp_url,
            "SMS_DATABASE_URL": database_url,
            "SMS_PROVIDER_URL": f"{simulator.url}/messages",
            "SMS_PROVIDER_TIMEOUT_S": "60",
        }
        yield Parts(settings, versions, folder, simulator, stack)


def _in_containers(stack: ExitStack) -> tuple[str, str, str]:
    # By the containers' own addresses: Docker's userland proxy on a published port costs a third of a core.
    broker = stack.enter_context(RabbitMqContainer("rabbitmq:4-management", username="sms", password=_PASSWORD))
    database = stack.enter_context(
        PostgresContainer("postgres:17", username="sms", password=_PASSWORD, dbname="sms", driver=None)
    )
    amqp_url = f"amqp://sms:{_PASSWORD}@{_address(broker)}:5672/"
    return amqp_url, f"postgresql://sms:{_PASSWORD}@{_address(database)}:5432/sms", "RabbitMQ 4, PostgreSQL 17"


def _address(container: Any) -> str:
    wrapped = container.get_wrapped_container()
    wrapped.reload()
    (network,) = wrapped.attrs["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def _of_the_system(stack: ExitStack, folder: Path) -> tuple[str, str, str]:
    node = Node.with_free_ports(folder / "broker")
    stack.callback(node.stop)
    node.start()
    return node.amqp_url, f"sqlite:///{folder}/ledger.sqlite3", "the system's RabbitMQ, SQLite"


def batch(api: ServiceProcess, batch_id: str) -> dict[str, Any]:
    """The batch as the api tells it."""
    found = requests.get(f"{api.url}/v1/batches/{batch_id}", timeout=30).json()
    assert isinstance(found, dict)
    return found


def when(api: ServiceProcess, batch_id: str, count: int, *states: str) -> dict[str, Any]:
    """Wait until so many numbers are in one of the states; the batch then."""

    def look() -> dict[str, Any] | None:
        found = batch(api, batch_id)
        return found if sum(found["counts"].get(state, 0) for state in states) >= count else None

    return eventually(look, 300, 0.1)
