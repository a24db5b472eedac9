"""Fixtures that give every test real parts of its own: a virtual host, a database, processes."""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import requests
import structlog

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer

from shared.ledger.database import Database
from tests.support import private_postgres, private_redis
from tests.support.brokers import Broker, Vhost, own_vhost, running_container, running_node
from tests.support.machine import has_docker, missing
from tests.support.processes import ServiceProcess

Start = Callable[..., ServiceProcess]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-faults", action="store_true", help="every fault scenario, on every broker")
    parser.addoption("--scenario", type=int, action="append", help="of the faults, only those of this number")
    parser.addoption("--first-broker", action="store_true", help="faults on one broker only")
    parser.addoption("--finish-within", type=float, metavar="SECONDS", help="wait no longer for batches under faults")
    parser.addoption("--seeds", type=int, default=1, help="how many seeds of the random killer")
    parser.addoption("--faults-table", metavar="FILE", help="write the table of the faults there, as Markdown")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("docker") and not has_docker():
            item.add_marker(pytest.mark.usefixtures("without_docker"))


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """smsctl, which tests run in this process, silences the services' loggers."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def without_docker() -> None:
    missing("no Docker engine on this machine")


@pytest.fixture(scope="session")
def container_broker() -> Iterator[Broker]:
    with running_container() as broker:
        yield broker


@pytest.fixture(scope="session")
def node_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_node(tmp_path_factory.mktemp("node") / "broker") as broker:
        yield broker


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    """The newest RabbitMQ where there is Docker, the system's where there is not."""
    found = request.getfixturevalue("container_broker" if has_docker() else "node_broker")
    assert isinstance(found, Broker)
    return found


@pytest.fixture
def vhost(broker: Broker) -> Iterator[Vhost]:
    with own_vhost(broker) as vhost:
        yield vhost


@pytest.fixture(params=["container", "node"])
def each_vhost(request: pytest.FixtureRequest) -> Iterator[Vhost]:
    """A virtual host on either version of RabbitMQ: the test runs twice."""
    with own_vhost(request.getfixturevalue(f"{request.param}_broker")) as vhost:
        yield vhost


@pytest.fixture(scope="session")
def new_postgres_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Makes PostgreSQL databases, in a container or on a private server of the system's packages."""
    if has_docker():
        password = secrets.token_hex(8)
        with PostgresContainer(
            "postgres:17", username="sms", password=password, dbname="sms", driver=None
        ) as container:
            base = container.get_connection_url().rsplit("/", 1)[0]

            def create() -> str:
                name = f"test_{secrets.token_hex(4)}"
                container.exec(["psql", "-U", "sms", "-d", "sms", "-c", f"CREATE DATABASE {name}"])
                return f"{base}/{name}"

            yield create
        return
    try:
        with private_postgres.PrivatePostgres(tmp_path_factory.mktemp("postgres")) as server:
            yield lambda: server.create_database(f"test_{secrets.token_hex(4)}")
    except private_postgres.Unavailable as reason:
        missing(str(reason))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.sqlite3"


@pytest.fixture
def postgres_url(new_postgres_database: Callable[[], str]) -> str:
    return new_postgres_database()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of either kind: the test runs twice."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty ledger of either kind."""
    database = Database(database_url)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[private_postgres.PrivatePostgres]:
    """A server that the test may kill."""
    try:
        with private_postgres.PrivatePostgres(tmp_path) as server:
            yield server
    except private_postgres.Unavailable as reason:
        missing(str(reason))


@pytest.fixture(scope="session")
def redis_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if has_docker():
        with RedisContainer("redis:8") as container:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"
        return
    try:
        with private_redis.PrivateRedis(tmp_path_factory.mktemp("redis")) as server:
            yield server.url
    except private_redis.Unavailable as reason:
        missing(str(reason))


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """Redis, emptied."""
    import redis

    with redis.Redis.from_url(redis_server_url) as client:
        client.flushall()
    return redis_server_url


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts services as processes, and ends them with the test: `start("sender", SMS_AMQP_URL=…)`."""
    started: list[ServiceProcess] = []

    def start_one(module: str, *, wait: bool = True, **settings: str) -> ServiceProcess:
        process = ServiceProcess(module, settings, tmp_path)
        started.append(process)
        return process.start(wait=wait)

    yield start_one
    for process in started:
        process.end()


@pytest.fixture
def simulator(start: Start) -> ServiceProcess:
    return start("tools.simulator", SMS_SIMULATOR_LATE_S="3")


@pytest.fixture
def calls(simulator: ServiceProcess) -> Callable[[str], dict[str, int]]:
    """How often the provider was called, by reference, for a batch."""

    def counts(batch_id: str) -> dict[str, int]:
        answer = requests.get(f"{simulator.url}/calls/counts", params={"batch": batch_id}, timeout=30).json()
        return {str(reference): int(number) for reference, number in answer["counts"].items()}

    return counts
