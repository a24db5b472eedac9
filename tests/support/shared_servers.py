"""The servers that all tests of a run share, whichever process runs them: brokers, PostgreSQL, Redis.

pytest's first process holds them; each is started when a test first asks for it, and all end with the run. Other
processes (pytest-xdist's) ask through a socket whose address is in their environment.
"""

import os
import secrets
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer

from tests.support import private_postgres, private_redis
from tests.support.brokers import running_container, running_node
from tests.support.machine import NotHere, has_docker
from tests.support.postgres import PostgresServer

_ADDRESS = "SMS_TESTS_SHARED_SERVERS"
_MOST_CONNECTIONS = 500


@dataclass(frozen=True)
class Absent:
    """Why this machine does not have a server."""

    reason: str


class SharedServers:
    """Starts each server at most once."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._folder = Path(tempfile.mkdtemp(prefix="sms-tests-"))
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._found: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """What is known of a running server, or Absent."""
        with self._locks[name]:
            if name not in self._found:
                self._found[name] = self._start(name)
            return self._found[name]

    def close(self) -> None:
        """End all of them."""
        self._stack.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, name: str) -> Any:
        try:
            return self._stack.enter_context(_SERVERS[name](self._folder / name))
        except NotHere as error:
            return Absent(str(error))


class _Manager(BaseManager):
    """Lends the servers to other processes."""


@contextmanager
def held() -> Iterator[SharedServers]:
    """Hold the servers of this run, for this process and those that it starts."""
    servers = SharedServers()
    _Manager.register("servers", callable=lambda: servers)
    key = secrets.token_bytes(16)
    server = _Manager(("127.0.0.1", 0), authkey=key).get_server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ[_ADDRESS] = f"{server.address[1]}:{key.hex()}"
    try:
        yield servers
    finally:
        del os.environ[_ADDRESS]
        servers.close()


def lent() -> Any:
    """The servers that the first process of this run holds."""
    port, _, key = os.environ[_ADDRESS].partition(":")
    _Manager.register("servers")
    manager = _Manager(("127.0.0.1", int(port)), authkey=bytes.fromhex(key))
    manager.connect()
    return manager.servers()  # type: ignore[attr-defined]


@contextmanager
def _postgres(folder: Path) -> Iterator[PostgresServer]:
    """In a container, or the system's; it survives a SIGKILL, only not a crash of the machine."""
    if not has_docker():
        with private_postgres.PrivatePostgres(folder) as server:
            yield PostgresServer.with_template(server.url)
        return
    settings = {"fsync": "off", "full_page_writes": "off", "max_connections": _MOST_CONNECTIONS}
    password = secrets.token_hex(8)
    container = PostgresContainer("postgres:17", username="sms", password=password, dbname="sms", driver=None)
    container.with_command(["postgres", *(part for item in settings.items() for part in ("-c", "{}={}".format(*item)))])
    with container:
        yield PostgresServer.with_template(container.get_connection_url())


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """Its URL."""
    if has_docker():
        with RedisContainer("redis:8") as container:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"
        return
    with private_redis.PrivateRedis(folder) as server:
        yield server.url


_SERVERS: dict[str, Callable[[Path], Any]] = {
    "container": lambda _folder: running_container(),
    "node": running_node,
    "postgres": _postgres,
    "redis": _redis,
}
