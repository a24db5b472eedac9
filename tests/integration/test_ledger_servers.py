"""The ledger on PostgreSQL as its URL says: which of several servers, how long it is waited for, and TLS."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from shared.errors import LedgerUnavailable, SettingsError
from shared.ledger.database import Database
from shared.ledger.diagnosing import DiagnosisLedger
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.certificates import self_signed
from tests.support.machine import NotHere, missing
from tests.support.private_postgres import PrivatePostgres
from tests.support.processes import ServiceProcess, eventually

SECRET = "hunter2"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's, for `localhost` only; its own authority."""
    return self_signed(tmp_path_factory.mktemp("tls"), "DNS:localhost")


@pytest.fixture(scope="module")
def with_tls(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[PrivatePostgres]:
    try:
        with PrivatePostgres(tmp_path_factory.mktemp("server"), certificate) as server:
            yield server
    except NotHere as reason:
        missing(str(reason))


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def by_name(server: PrivatePostgres) -> str:
    return server.url.replace("127.0.0.1", "localhost")


async def is_encrypted(url: str) -> bool | None:
    database = Database(url)
    try:
        return await DiagnosisLedger(database).is_encrypted()
    finally:
        await database.close()


async def refusal(url: str) -> str:
    """Why no connection is made."""
    with pytest.raises(LedgerUnavailable) as refused:
        await is_encrypted(url)
    return str(refused.value)


async def test_a_server_with_tls_is_spoken_to_under_tls_unless_that_is_disabled(with_tls: PrivatePostgres) -> None:
    assert await is_encrypted(with_tls.url) is True
    assert await is_encrypted(f"{with_tls.url}?sslmode=require") is True
    assert await is_encrypted(f"{with_tls.url}?sslmode=disable") is False


async def test_a_certificate_is_verified_where_that_is_asked_for(
    with_tls: PrivatePostgres, certificate: Path, tmp_path: Path
) -> None:
    another = self_signed(tmp_path, "DNS:localhost")
    assert await is_encrypted(f"{by_name(with_tls)}?sslmode=verify-full&sslrootcert={certificate}") is True
    assert await is_encrypted(f"{with_tls.url}?sslmode=verify-ca&sslrootcert={certificate}") is True
    said = await refusal(f"{with_tls.url}?sslmode=verify-full&sslrootcert={certificate}")
    assert f"PostgreSQL at 127.0.0.1:{with_tls.port}: " in said
    assert "IP address mismatch" in said
    assert "verify failed" in await refusal(f"{with_tls.url}?sslmode=verify-ca&sslrootcert={another}")
    assert "verify failed" in await refusal(f"{by_name(with_tls)}?sslrootcert=system")


async def test_a_server_without_tls_is_no_substitute_where_tls_is_asked_for(
    postgres_url: str, certificate: Path
) -> None:
    assert await is_encrypted(postgres_url) is False
    assert await is_encrypted(f"{postgres_url}?sslmode=prefer") is False
    for mode in ("require", "verify-ca", "verify-full"):
        said = await refusal(f"{postgres_url}?sslmode={mode}&sslrootcert={certificate}")
        assert "rejected SSL upgrade" in said
    assert "rejected SSL upgrade" in await refusal(f"{postgres_url}?sslmode=require")


async def test_what_no_connection_can_be_made_with_is_a_bad_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=r"^SMS_DATABASE_URL: root certificate file .* does not exist"):
        await is_encrypted("postgresql://sms@127.0.0.1:1/sms?sslmode=verify-full")


async def test_of_several_servers_the_first_that_answers_is_taken_and_remembered(with_tls: PrivatePostgres) -> None:
    login, _, place = with_tls.url.removeprefix("postgresql://").rpartition("@")
    asked: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: asked.append(writer), "127.0.0.1", 0)
    silent_place = "{}:{}".format(*silent.sockets[0].getsockname())
    database = Database(f"postgresql://{login}@{silent_place},127.0.0.1:1,{place}?connect_timeout=4")
    try:
        assert await database.run("SELECT 1")
        await database.close()  # its connections; it makes new ones
        assert await database.run("SELECT 1")
        assert len(asked) == 1
    finally:
        await database.close()
        silent.close()
        for writer in asked:
            writer.close()


async def test_a_server_that_somebody_has_given_up_on_comes_last_too(with_tls: PrivatePostgres, silent: int) -> None:
    login, _, place = with_tls.url.removeprefix("postgresql://").rpartition("@")
    database = Database(f"postgresql://{login}@127.0.0.1:{silent},{place}?connect_timeout=600")
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await database.run("SELECT 1")
        assert await database.run("SELECT 1")
    finally:
        await database.close()


async def test_a_server_that_takes_no_writes_is_passed_over(with_tls: PrivatePostgres) -> None:
    url = with_tls.create_database("standing_still")
    database = Database(url)
    async with database.writing() as connection:
        await connection.exec_driver_sql("ALTER DATABASE standing_still SET default_transaction_read_only = on")
    await database.close()
    url = f"{url}?target_session_attrs=read-write"
    assert await refusal(url) == f"PostgreSQL at 127.0.0.1:{with_tls.port}: it takes no writes"


async def test_what_cannot_be_reached_is_named_with_host_and_port_and_neither_user_nor_password(
    with_tls: PrivatePostgres, silent: int
) -> None:
    url = f"postgresql://somebody:{SECRET}@127.0.0.1:{with_tls.port}/sms"
    sentences = [
        await refusal(url),
        await refusal(f"postgresql://somebody:{SECRET}@127.0.0.1:1/sms"),
        await refusal(f"postgresql://somebody:{SECRET}@127.0.0.1:{silent},nowhere.invalid/sms?connect_timeout=1"),
    ]
    assert sentences == [
        f"PostgreSQL at 127.0.0.1:{with_tls.port}: password authentication failed for user ***",
        "PostgreSQL at 127.0.0.1:1: [Errno 111] Connect call failed ('127.0.0.1', 1)",
        f"PostgreSQL at 127.0.0.1:{silent}: no answer within 1 s; "
        "PostgreSQL at nowhere.invalid:5432: [Errno -2] Name or service not known",
    ]


def test_the_api_listens_and_ends_in_order_with_a_broker_and_a_database_that_never_answer(
    start: Start, silent: int
) -> None:
    settings = {
        "SMS_AMQP_URL": f"amqp://somebody:{SECRET}@127.0.0.1:{silent}/",
        "SMS_DATABASE_URL": f"postgresql://somebody:{SECRET}@127.0.0.1:{silent}/sms?sslmode=require&connect_timeout=1",
    }
    api = start("services.api", wait=False, **settings)
    eventually(lambda: _status(f"{api.url}/healthz") == 200)
    assert _status(f"{api.url}/readyz") == 503
    place = f"127.0.0.1:{silent}"
    assert _said(api, "waiting_for_database")["reason"] == f"PostgreSQL at {place}: no answer within 1 s"
    assert _said(api, "broker_unreachable")["node"] == _said(api, "waiting_for_broker")["node"] == place
    assert api.stop() == 0
    assert SECRET not in api.log
    assert "somebody" not in api.log


def _said(service: ServiceProcess, event: str) -> dict[str, Any]:
    """The first line of an event in a service's log."""
    lines = eventually(lambda: [line for line in service.log.splitlines() if f'"{event}"' in line])
    return dict(json.loads(lines[0]))


def _status(url: str) -> int | None:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return None


def test_services_work_on_a_server_whose_certificate_they_verify(
    start: Start, vhost: Vhost, with_tls: PrivatePostgres, certificate: Path
) -> None:
    url = f"{by_name(with_tls)}?sslmode=verify-full&sslrootcert={certificate}&application_name=sms-tls"
    api = start("services.api", SMS_AMQP_URL=vhost.amqp_url, SMS_DATABASE_URL=url)
    assert requests.get(f"{api.url}/v1/batches", timeout=30).json()["batches"] == []


@pytest.mark.parametrize("module", ["services.api", "services.dispatcher", "services.sender"])
def test_a_parameter_that_is_not_understood_ends_a_service_with_one_line_and_status_2(
    start: Start, module: str
) -> None:
    url = f"postgresql://sms:{SECRET}@127.0.0.1:1/sms?gssencmode=disable"
    service = start(module, wait=False, SMS_DATABASE_URL=url, SMS_PROVIDER_URL="http://127.0.0.1:1/")
    assert service.wait() == 2
    assert service.log.startswith("bad settings: SMS_DATABASE_URL: gssencmode is not understood")
    assert service.log.count("\n") == 1
    assert SECRET not in service.log
