"""The database stops under load and comes back: everything waits, nothing is lost."""

import asyncio
import time

import asyncpg
import pytest
import requests

from shared.errors import LedgerUnavailable
from shared.ledger.database import Database
from tests.conftest import Start
from tests.integration.test_trio import numbers
from tests.support import private_postgres
from tests.support.brokers import Vhost
from tests.support.postgres import take_no_writes
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for


def test_a_database_that_is_killed_under_load_and_started_again_loses_nothing(
    vhost: Vhost, own_postgres: private_postgres.PrivatePostgres, simulator: ServiceProcess, start: Start
) -> None:
    trio = Trio(vhost, simulator, settings_for(vhost, own_postgres.url, simulator), start).up()
    plain = [number for number in numbers(4500) if not number[-4:].startswith("90")]
    trio.misbehave("slow", delay_s=0.05)
    first = trio.post(plain)
    eventually(lambda: trio.batch(first)["counts"].get("sent", 0) > 300)
    own_postgres.kill()
    meanwhile = trio.post(["+8613900139000"])
    time.sleep(3)  # senders and dispatcher hit the missing database
    own_postgres.start()
    eventually(lambda: requests.get(f"{trio.api.url}/v1/batches/{first}", timeout=30).ok)
    assert trio.finished(first, 120) == {"sent": len(plain)}
    assert trio.finished(meanwhile, 60) == {"sent": 1}
    assert set(trio.provider_calls(first).values()) == {1}
    assert '"level":"critical"' not in trio.logs()


async def refuse_logins(url: str, seconds: float) -> None:
    """Let nobody in for a while, and turn out who is in, as when a password is changed."""
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER ROLE sms NOLOGIN")
    await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    await asyncio.sleep(seconds)
    await connection.execute("ALTER ROLE sms LOGIN")
    await connection.close()


def test_a_database_that_lets_nobody_in_for_a_while_is_waited_for_and_calls_under_way_are_recorded(
    vhost: Vhost, own_postgres: private_postgres.PrivatePostgres, simulator: ServiceProcess, start: Start
) -> None:
    trio = Trio(vhost, simulator, settings_for(vhost, own_postgres.url, simulator), start).up()
    plain = [number for number in numbers(3300) if not number[-4:].startswith("90")]
    trio.misbehave("slow", delay_s=0.05)
    batch_id = trio.post(plain)
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 300)
    asyncio.run(refuse_logins(own_postgres.url, 2.5))
    eventually(lambda: requests.get(f"{trio.api.url}/v1/batches/{batch_id}", timeout=30).ok)
    assert trio.finished(batch_id, 120) == {"sent": len(plain)}
    assert set(trio.provider_calls(batch_id).values()) == {1}
    assert '"level":"critical"' not in trio.logs()


def test_what_a_service_waits_for_is_in_readyz(
    vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start
) -> None:
    trio = Trio(vhost, simulator, settings_for(vhost, postgres_url, simulator), start).up(senders=1)
    asyncio.run(take_no_writes(postgres_url, "on"))
    batch_id = trio.post(["+8613900139000"])

    def reason() -> str:
        answer = requests.get(f"{trio.dispatcher.url}/readyz", timeout=5)
        return str(answer.json().get("reasons", {}).get("ledger", "")) if answer.status_code == 503 else ""

    eventually(lambda: "PostgreSQL is read-only" in reason())
    asyncio.run(take_no_writes(postgres_url, "off"))
    trio.dispatcher.await_ready()

    def is_sent() -> bool:
        # The api asks a ledger that has failed again after a moment, and has more than one connection to it.
        answer = requests.get(f"{trio.api.url}/v1/batches/{batch_id}", timeout=30)
        return answer.ok and answer.json()["counts"].get("sent") == 1

    eventually(is_sent, 60)


async def test_who_only_reads_leaves_a_server_that_has_become_read_only(
    own_postgres: private_postgres.PrivatePostgres,
) -> None:
    database = Database(own_postgres.url)

    async def backend() -> int:
        ((pid,),) = await database.run("SELECT pg_backend_pid()")
        return int(pid)

    try:
        before = await backend()
        assert await backend() == before
        await asyncio.to_thread(own_postgres.demote)
        async with asyncio.timeout(30):
            while await backend() == before:
                await asyncio.sleep(0.1)
    finally:
        await database.close()


async def test_a_connection_whose_server_has_become_read_only_is_given_up(postgres_url: str) -> None:
    database = Database(postgres_url)
    try:
        ((before,),) = await database.run("SELECT pg_backend_pid()")
        async with database.writing() as connection:
            await connection.exec_driver_sql("SET default_transaction_read_only = on")
        with pytest.raises(LedgerUnavailable):
            async with database.writing() as connection:
                await connection.exec_driver_sql("CREATE TABLE nothing ()")
        async with database.writing() as connection:  # by a new connection, which the setting is not of
            await connection.exec_driver_sql("CREATE TABLE nothing ()")
        ((after,),) = await database.run("SELECT pg_backend_pid()")
        assert before != after
    finally:
        await database.close()
