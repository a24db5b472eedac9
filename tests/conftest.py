"""Fixtures that give every test real parts of its own: a virtual host, a database, processes."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
import requests
import structlog

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from shared.ledger.database import Database
from tests.support import shared_servers, transitions
from tests.support.brokers import Broker, Vhost, own_vhost
from tests.support.machine import NotHere, has_docker, missing
from tests.support.part_times import PartTimes
from tests.support.postgres import PostgresServer
from tests.support.private_postgres import PrivatePostgres
from tests.support.processes import ServiceProcess
from tests.support.wrong_clock import WrongClock

Start = Callable[..., ServiceProcess]


_WITH_DOCKER, _LOCAL = frozenset({"container", "postgres"}), frozenset({"node", "sqlite"})
"""The brokers and databases that go together; the names are parameters of tests."""
_SERVERS = pytest.StashKey[shared_servers.SharedServers]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", action="store_true", help="every test on every broker and every database")
    parser.addoption("--all-faults", action="store_true", help="every fault scenario, on every broker")
    parser.addoption("--scenario", type=int, action="append", help="of the faults, only those of this number")
    parser.addoption("--first-broker", action="store_true", help="faults on one broker only")
    parser.addoption("--finish-within", type=float, metavar="SECONDS", help="wait no longer for batches under faults")
    parser.addoption("--seeds", type=int, default=1, help="how many seeds of the random killer")
    parser.addoption("--faults-table", metavar="FILE", help="write the table of the faults there, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    """The first process of a run holds the servers that all of its tests share.

    Properties are tried with the same examples in each run; with `--matrix`, which looks for what nobody thought of,
    with others every time.
    """
    hypothesis.settings.register_profile("same", derandomize=True)
    if not config.getoption("--matrix"):
        hypothesis.settings.load_profile("same")
    if not _is_worker(config):
        stack = ExitStack()
        config.stash[_SERVERS] = stack.enter_context(shared_servers.held())
        config.add_cleanup(stack.close)
        config.pluginmanager.register(PartTimes())


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--matrix` each test runs on one broker and one database, but for those that are marked `on_each`."""
    left_out = {item for item in items if not _is_chosen(config, item)}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if item.get_closest_marker("docker") and not has_docker():
            item.add_marker(pytest.mark.usefixtures("without_docker"))


def _is_chosen(config: pytest.Config, item: pytest.Item) -> bool:
    if config.getoption("--matrix"):
        return True
    if item.get_closest_marker("large"):
        return False
    if item.get_closest_marker("on_each") or item.get_closest_marker("scenario"):
        return True  # of the faults, their own conftest chooses
    if "database" in getattr(item, "fixturenames", ()):
        return True  # the ledger's contract
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    other_pair = _LOCAL if has_docker() else _WITH_DOCKER
    return not other_pair.intersection(str(value) for value in parameters.values())


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """smsctl, which tests run in this process, silences the services' loggers."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def without_docker() -> None:
    missing("no Docker engine on this machine")


@pytest.fixture(scope="session")
def shared_server(pytestconfig: pytest.Config) -> Callable[[str], Any]:
    """A server that all tests share, by its name; skips where this machine has none."""
    servers = shared_servers.lent() if _is_worker(pytestconfig) else pytestconfig.stash[_SERVERS]

    def find(name: str) -> Any:
        found = servers.get(name)
        if isinstance(found, shared_servers.Absent):
            missing(found.reason)
        return found

    return find


@pytest.fixture(scope="session")
def broker(shared_server: Callable[[str], Any]) -> Broker:
    """The newest RabbitMQ where there is Docker, the system's where there is not."""
    found = shared_server("container" if has_docker() else "node")
    assert isinstance(found, Broker)
    return found


@pytest.fixture
def vhost(broker: Broker) -> Iterator[Vhost]:
    with own_vhost(broker) as vhost:
        yield vhost


@pytest.fixture(params=["container", "node"])
def each_vhost(request: pytest.FixtureRequest, shared_server: Callable[[str], Any]) -> Iterator[Vhost]:
    """A virtual host on either version of RabbitMQ: the test may run twice."""
    with own_vhost(shared_server(request.param)) as vhost:
        yield vhost


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with our tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite3"

    async def migrate() -> None:
        database = Database(f"sqlite:///{path}")
        await database.migrate()
        await database.close()

    asyncio.run(migrate())
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(transitions.SQLITE)
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_sqlite: Path) -> str:
    """A SQLite file with our tables."""
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'ledger.sqlite3')}"


@pytest.fixture(scope="session")
def postgres(shared_server: Callable[[str], Any]) -> PostgresServer:
    """PostgreSQL, in a container or on a private server of the system's packages."""
    found = shared_server("postgres")
    assert isinstance(found, PostgresServer)
    return found


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """A PostgreSQL database with our tables."""
    return postgres.new_database()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of either kind with our tables: the test may run twice."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty ledger of either kind."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[PrivatePostgres]:
    """A server that the test may kill."""
    try:
        with PrivatePostgres(tmp_path) as server:
            yield server
    except NotHere as reason:
        missing(str(reason))


@pytest.fixture
def redis_url(shared_server: Callable[[str], Any], worker_number: int) -> str:
    """One of Redis's numbered databases, emptied."""
    url = f"{shared_server('redis').rpartition('/')[0]}/{worker_number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def worker_number(pytestconfig: pytest.Config) -> int:
    """Which of the processes that share the tests this is; 0 where there is one."""
    return int(pytestconfig.workerinput["workerid"].removeprefix("gw")) if _is_worker(pytestconfig) else 0  # type: ignore[attr-defined]


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
def wrong_clock(tmp_path: Path) -> WrongClock:
    """A clock that the test sets, for the processes that are started with it."""
    try:
        return WrongClock(tmp_path / "clock")
    except NotHere as reason:
        missing(str(reason))


@pytest.fixture
def simulator(start: Start) -> ServiceProcess:
    return start("tools.simulator", SMS_SIMULATOR_LATE_S="9")


@pytest.fixture
def calls(simulator: ServiceProcess) -> Callable[[str], dict[str, int]]:
    """How often the provider was called, by reference, for a batch."""

    def counts(batch_id: str) -> dict[str, int]:
        answer = requests.get(f"{simulator.url}/calls/counts", params={"batch": batch_id}, timeout=30).json()
        return {str(reference): int(number) for reference, number in answer["counts"].items()}

    return counts
