"""What a doctor says of connections that are not encrypted."""

from dataclasses import replace

import pytest

from shared.topology import build_topology
from tools.ctl.doctoring.encryption import about_database, look_at_urls, plain
from tools.ctl.doctoring.findings import Kind
from tools.ctl.doctoring.system import System

SYSTEM = System(
    urls="amqp://u:hunter2@127.0.0.1:5672/",
    user="u",
    topology=build_topology((5,)),
    has_management=None,
    database_url="sqlite:///none.sqlite3",
    redis_url="redis://localhost:6379/0",
    api_url="http://127.0.0.1:8080",
    recover_after_s=900,
)


@pytest.mark.parametrize(
    ("addresses", "kind"),
    [
        (["127.0.0.1", "::1"], None),
        (["172.18.0.3"], Kind.HINT),
        (["127.0.0.1", "10.0.0.7"], Kind.HINT),
        (["fd00::7"], Kind.HINT),
        (["8.8.8.8"], Kind.WRONG),
        (["10.0.0.7", "2a00:1450::1"], Kind.WRONG),
        ([], None),
    ],
)
def test_a_plain_connection_weighs_by_how_far_it_goes(addresses: list[str], kind: Kind | None) -> None:
    found = plain("the broker", "broker.example", addresses, "amqps://")
    assert (found and found.kind) == kind
    assert found is None or "broker.example" in found.what


def test_what_stays_on_this_machine_is_not_mentioned() -> None:
    assert look_at_urls(SYSTEM) == []


def test_every_host_without_tls_is_named_once_and_nothing_of_its_login() -> None:
    urls = (
        "amqp://u:hunter2@8.8.8.8:1/,amqp://u:hunter2@8.8.8.8:2/,amqps://u:hunter2@8.8.4.4/,amqp://u:hunter2@10.0.0.7/"
    )
    broker, near, cache = look_at_urls(replace(SYSTEM, urls=urls, redis_url="redis://:hunter2@10.0.0.8:1/0"))
    assert [broker.kind, near.kind, cache.kind] == [Kind.WRONG, Kind.HINT, Kind.HINT]
    for finding, host in ((broker, "8.8.8.8"), (near, "10.0.0.7"), (cache, "10.0.0.8")):
        assert f" at {host} are not encrypted" in finding.what
        assert "hunter2" not in finding.lines


def test_what_is_encrypted_is_not_mentioned() -> None:
    assert look_at_urls(replace(SYSTEM, urls="amqps://8.8.8.8/", redis_url="rediss://8.8.8.8/0")) == []


def test_of_the_database_its_server_says_whether_it_is_encrypted() -> None:
    url = "postgresql://u:hunter2@10.0.0.7,10.0.0.8,%2Frun%2Fpostgresql/db"
    assert about_database(url, is_encrypted=True) == about_database("sqlite:///x", is_encrypted=None) == []
    first, second = about_database(url, is_encrypted=False)
    assert "the database at 10.0.0.7 are not encrypted" in first.what
    assert "10.0.0.8" in second.what
    assert "sslmode=verify-full" in first.todo
    assert about_database("postgresql://u@127.0.0.1/db", is_encrypted=False) == []
