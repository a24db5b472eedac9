"""Brokers and databases for the integration tests."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.support.private_postgres import PrivatePostgres
from tests.support.private_redis import PrivateRedis
from tools.node import Node


@dataclass(frozen=True)
class Vhost:
    """A virtual host of its own for one test."""

    amqp_url: str
    management_url: str
    user: str
    password: str
    name: str


@dataclass(frozen=True)
class _Broker:
    amqp: str  # host:port
    management_url: str
    user: str
    password: str


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Broker]:
    if url := os.environ.get("SMS_TEST_MANAGEMENT_URL"):
        user, password = os.environ["SMS_TEST_USER"], os.environ["SMS_TEST_PASSWORD"]
        yield _Broker(os.environ["SMS_TEST_AMQP"], url.rstrip("/"), user, password)
        return
    node = Node.with_free_ports(tmp_path_factory.mktemp("node"))
    try:
        node.start()
        config = node.config
        yield _Broker(
            f"127.0.0.1:{config.amqp_port}", node.management_url.rstrip("/"), config.user, config.password
        )
    finally:
        node.kill()


@pytest.fixture
def vhost(broker: _Broker) -> Iterator[Vhost]:
    name, auth = f"test-{secrets.token_hex(6)}", (broker.user, broker.password)
    requests.put(f"{broker.management_url}/api/vhosts/{name}", auth=auth, timeout=30).raise_for_status()
    permissions = {"configure": ".*", "write": ".*", "read": ".*"}
    where = f"{broker.management_url}/api/permissions/{name}/{broker.user}"
    requests.put(where, auth=auth, json=permissions, timeout=30).raise_for_status()
    url = f"amqp://{broker.user}:{broker.password}@{broker.amqp}/{name}"
    yield Vhost(url, broker.management_url, broker.user, broker.password, name)
    requests.delete(f"{broker.management_url}/api/vhosts/{name}", auth=auth, timeout=30).raise_for_status()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    with PrivatePostgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite3"
    server: PrivatePostgres = request.getfixturevalue("postgres")
    return server.create_database(f"test_{secrets.token_hex(6)}")


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with PrivateRedis(tmp_path / "redis") as server:
        yield server.url
