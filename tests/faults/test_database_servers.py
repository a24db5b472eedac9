"""A database that lets nobody in for a while, and a failover to its standby while numbers are being called."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.faults.conftest import FaultRun
from tests.faults.test_kills import ends_as, plain_numbers
from tests.support.brokers import Vhost
from tests.support.private_postgres import USER, PrivatePostgres
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

CALL_S = 0.05
TURN_OUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'sms'"

Run = Callable[[str], None]


def change_password(server: PrivatePostgres, run: Run, *, back: bool) -> None:
    """SQLSTATE 28P01 meanwhile."""
    server.change_password(run, back=back)


def forbid_role(_server: PrivatePostgres, run: Run, *, back: bool) -> None:
    """SQLSTATE 28000 meanwhile."""
    run(f"ALTER ROLE {USER} {'LOGIN' if back else 'NOLOGIN'}")


def rename_database(_server: PrivatePostgres, run: Run, *, back: bool) -> None:
    """SQLSTATE 3D000 meanwhile, and 55000 for a moment."""
    if not back:
        run("ALTER DATABASE sms ALLOW_CONNECTIONS false")
        run(TURN_OUT)
    run("ALTER DATABASE elsewhere RENAME TO sms" if back else "ALTER DATABASE sms RENAME TO elsewhere")
    if back:
        run("ALTER DATABASE sms ALLOW_CONNECTIONS true")


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet."""
    own = {"SMS_PROVIDER_TIMEOUT_S": "10", "SMS_AMQP_URL": each_vhost.amqp_url}
    return Trio(each_vhost, simulator, {**settings, **own}, start)


@pytest.fixture
def standby(own_postgres: PrivatePostgres, tmp_path: Path) -> Iterator[PrivatePostgres]:
    """A second server that has everything which the first one has told anybody is committed."""
    with PrivatePostgres(tmp_path / "standby", copies=own_postgres) as server:
        own_postgres.wait_for_copies()
        yield server


@pytest.mark.parametrize(
    ("lock", "locked_s", "numbers"),
    [
        pytest.param(change_password, 3, 3000, marks=pytest.mark.quick(only_matrix=True)),
        (change_password, 40, 10_000),
        (forbid_role, 8, 3000),
        (rename_database, 8, 3000),
    ],
)
@pytest.mark.scenario(37, "PostgreSQL refuses logins under load")
def test_a_database_that_lets_nobody_in_is_waited_for_and_what_was_called_is_recorded(
    trio: Trio,
    own_postgres: PrivatePostgres,
    fault: FaultRun,
    lock: Callable[..., None],
    locked_s: float,
    numbers: int,
) -> None:
    trio.settings["SMS_DATABASE_URL"] = own_postgres.url
    trio.up()
    trio.misbehave("slow", delay_s=CALL_S)
    first = trio.post(plain_numbers(numbers))
    eventually(lambda: trio.batch(first)["counts"].get("sent", 0) > 300)
    with own_postgres.administrator() as run:
        lock(own_postgres, run, back=False)
        run(TURN_OUT)
        locked_at_s = time.monotonic()
        meanwhile = [trio.post(plain_numbers(50)) for _ in range(5)]
        time.sleep(max(0.0, locked_at_s + locked_s - time.monotonic()))
        lock(own_postgres, run, back=True)
    found = fault.conserved(trio, [first, *meanwhile])
    assert found.unknown == 0
    assert ends_as(trio, first) == {"sent": numbers}
    assert '"level":"critical"' not in trio.logs()


@pytest.mark.parametrize("fail", [PrivatePostgres.kill, pytest.param(PrivatePostgres.demote, marks=pytest.mark.quick)])
@pytest.mark.scenario(38, "a failover of the database under load")
def test_after_a_failover_all_services_work_on_at_the_standby(
    trio: Trio,
    own_postgres: PrivatePostgres,
    standby: PrivatePostgres,
    fault: FaultRun,
    fail: Callable[[PrivatePostgres], None],
) -> None:
    trio.settings["SMS_DATABASE_URL"] = own_postgres.url_with(standby)
    trio.up()
    trio.misbehave("slow", delay_s=CALL_S)
    first = trio.post(plain_numbers(3000))
    eventually(lambda: trio.batch(first)["counts"].get("sent", 0) > 300)
    fail(own_postgres)
    meanwhile = [trio.post(plain_numbers(50)) for _ in range(5)]
    time.sleep(2)  # an outage first: nobody is primary
    standby.promote()
    found = fault.conserved(trio, [first, *meanwhile])
    assert found.unknown == 0
    assert ends_as(trio, first) == {"sent": 3000}
    assert '"level":"critical"' not in trio.logs()
