"""Broker and database as containers, or what the system has; and what they use of the machine."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.rabbitmq import RabbitMqContainer
from testcontainers.community.redis import RedisContainer

from tests.support.machine import has_docker
from tests.support.private_redis import PrivateRedis
from tools.node import Node, processes

_PASSWORD = "benchmark"  # noqa: S105 - of containers that live for minutes
_NANOSECONDS = 1_000_000_000
_MIB = 1024 * 1024


class Server(Protocol):
    """A broker or a database that runs for the benchmark alone."""

    url: str
    version: str
    """Its name and its version."""

    def cpu_s(self) -> float:
        """CPU seconds since its start."""

    def memory_mib(self) -> float:
        """Memory that it holds now, without the files that the kernel keeps for it."""


class ContainerServer:
    """A container, reached by its own address: Docker's userland proxy on a published port costs a third of a core."""

    def __init__(self, container: Any, url: str, name: str, version_command: str) -> None:
        self._container = container.get_wrapped_container()
        self._container.reload()
        (network,) = self._container.attrs["NetworkSettings"]["Networks"].values()
        self.url = url.format(address=network["IPAddress"])
        said = self._container.exec_run(version_command).output.decode()
        (number,) = re.findall(r"\d+(?:\.\d+)+", said)[:1]
        self.version = f"{name} {number}"

    def cpu_s(self) -> float:
        return float(self._stats()["cpu_stats"]["cpu_usage"]["total_usage"]) / _NANOSECONDS

    def memory_mib(self) -> float:
        memory = self._stats()["memory_stats"]
        # As `docker stats` does; the name differs between cgroup v1 and v2.
        files = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
        return float(memory["usage"] - files) / _MIB

    def _stats(self) -> dict[str, Any]:
        stats = self._container.stats(stream=False, one_shot=True)
        assert isinstance(stats, dict)
        return stats


class NodeServer:
    """The system's RabbitMQ as a private node."""

    def __init__(self, node: Node) -> None:
        self._node, self.url = node, node.amqp_url
        self.version = f"RabbitMQ {node.rabbitmqctl('version').strip()} (the system's, a private node)"

    def cpu_s(self) -> float:
        return sum(sum(process.cpu_times()) for process in self._processes())

    def memory_mib(self) -> float:
        return sum(float(process.memory_info().rss) for process in self._processes()) / _MIB

    def _processes(self) -> list[psutil.Process]:
        return [psutil.Process(process.pid) for process in processes.of_folder(self._node.folder)]


class FileServer:
    """SQLite: its work is done in the services' own processes."""

    version = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, file: Path) -> None:
        self.url = f"sqlite:///{file}"

    def cpu_s(self) -> float:
        return 0.0

    def memory_mib(self) -> float:
        return 0.0


@contextmanager
def running_broker(folder: Path) -> Iterator[Server]:
    """RabbitMQ 4 in a container where there is Docker, else the system's."""
    if has_docker():
        with RabbitMqContainer("rabbitmq:4-management", username="sms", password=_PASSWORD) as container:
            yield ContainerServer(
                container, f"amqp://sms:{_PASSWORD}@{{address}}:5672/", "RabbitMQ", "rabbitmqctl version"
            )
        return
    node = Node.with_free_ports(folder / "broker")
    node.start()
    try:
        yield NodeServer(node)
    finally:
        node.stop()


@contextmanager
def running_database(folder: Path) -> Iterator[Server]:
    """PostgreSQL in a container where there is Docker, else SQLite."""
    if not has_docker():
        yield FileServer(folder / "ledger.sqlite3")
        return
    with PostgresContainer("postgres:17", username="sms", password=_PASSWORD, dbname="sms", driver=None) as container:
        yield ContainerServer(
            container, f"postgresql://sms:{_PASSWORD}@{{address}}:5432/sms", "PostgreSQL", "postgres --version"
        )


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """The address of a Redis: in a container where there is Docker, else the system's."""
    if has_docker():
        with RedisContainer("redis:8") as container:
            server = ContainerServer(container, "redis://{address}:6379/0", "Redis", "redis-server --version")
            yield server.url
        return
    with PrivateRedis(folder / "redis") as private:
        yield private.url
