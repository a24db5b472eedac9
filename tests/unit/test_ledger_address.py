"""PostgreSQL's URL as libpq has it: understood, or refused in a line that names the parameter and no value."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.ledger.address import Place, PostgresAddress

SECRET = "hunter2"


def passed_on(address: PostgresAddress) -> dict[str, str]:
    """What asyncpg is told beside login and database."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(address.dsn).query).items()}


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_each_spelling_of_the_scheme_is_asyncpgs(scheme: str) -> None:
    address = PostgresAddress.of(f"{scheme}://sms:p%40ss@db.example:5433/sms")
    assert address == PostgresAddress(
        "postgresql://sms:p%40ss@/sms", (Place("db.example", 5433),), trusts_system=False, connect_timeout_s=5
    )


@pytest.mark.parametrize(
    ("written", "places"),
    [
        ("sms@one:1,two:2,three/db", (Place("one", 1), Place("two", 2), Place("three", 5432))),
        ("sms@[::1]:7,[fe80::1]/db", (Place("::1", 7), Place("fe80::1", 5432))),
        ("sms@%2Frun%2Fpostgresql/db", (Place("/run/postgresql", 5432),)),
        ("sms@/db?host=/run/postgresql&port=7", (Place("/run/postgresql", 7),)),
        ("/db?host=one,two&port=7", (Place("one", 7), Place("two", 7))),
        ("/db?host=one,two&port=7,8", (Place("one", 7), Place("two", 8))),
        ("/db?host=one:7&host=two:8", (Place("one", 7), Place("two", 8))),  # SQLAlchemy's
        ("ignored/db?host=one", (Place("one", 5432),)),
        ("/db?port=7", (Place("localhost", 7),)),
        ("/db", ()),
    ],
)
def test_hosts_are_found_wherever_libpq_has_them(written: str, places: tuple[Place, ...]) -> None:
    assert PostgresAddress.of(f"postgresql://{written}").places == places


def test_a_place_is_shown_as_people_write_it() -> None:
    shown = [str(place) for place in (Place("one", 1), Place("::1", 2), Place("/run", 3))]
    assert shown == ["one:1", "[::1]:2", "/run/.s.PGSQL.3"]


def test_what_asyncpg_understands_is_passed_on() -> None:
    query = "sslmode=require&application_name=a+b&options=-c%20work_mem%3D8MB&target_session_attrs=any&user=u%26v"
    assert passed_on(PostgresAddress.of(f"postgresql://h/db?{query}&passfile=")) == {
        "sslmode": "require",
        "application_name": "a+b",
        "options": "-c work_mem=8MB",
        "target_session_attrs": "any",
        "user": "u&v",
    }


@pytest.mark.parametrize(("mode", "sslmode"), [("require", "require"), ("true", "require"), ("False", "disable")])
def test_ssl_is_understood_as_the_mode(mode: str, sslmode: str) -> None:
    assert passed_on(PostgresAddress.of(f"postgresql://h/db?ssl={mode}")) == {"sslmode": sslmode}


def test_of_several_servers_one_that_takes_writes_is_looked_for() -> None:
    assert passed_on(PostgresAddress.of("postgresql://one,two/db")) == {"target_session_attrs": "read-write"}
    assert passed_on(PostgresAddress.of("postgresql://one/db")) == {}
    given = PostgresAddress.of("postgresql://one,two/db?target_session_attrs=any")
    assert passed_on(given) == {"target_session_attrs": "any"}


def test_the_time_to_connect_is_the_urls() -> None:
    assert PostgresAddress.of("postgresql://h/db?connect_timeout=12").connect_timeout_s == 12
    assert PostgresAddress.of("postgresql://h/db").connect_timeout_s == 5


def test_the_certificates_of_the_system_mean_that_the_name_is_verified() -> None:
    address = PostgresAddress.of("postgresql://h/db?sslrootcert=system")
    assert (address.trusts_system, passed_on(address)) == (True, {})


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("keepalives=1", "keepalives is not understood"),
        ("channel_binding=require", "channel_binding is not understood"),
        ("service=x", "service is not understood"),
        ("statement_timeout=5", "statement_timeout is not understood"),
        (f"sslmod={SECRET}", "sslmod is not understood"),
        (f"{SECRET}%40=1", "a parameter is not understood"),
        (f"sslmode={SECRET}", "sslmode: give one of disable, allow, prefer, require, verify-ca, verify-full"),
        (f"ssl={SECRET}", "sslmode: give one of"),
        ("sslnegotiation=direct", "sslnegotiation: direct needs sslmode=require"),
        ("ssl_min_protocol_version=SSLv3", "ssl_min_protocol_version: give one of TLSv1,"),
        ("target_session_attrs=standby", "target_session_attrs: give one of any, primary, read-write"),
        ("connect_timeout=0", "connect_timeout: give whole seconds"),
        ("connect_timeout=soon", "connect_timeout: give whole seconds"),
        ("host=one,two&port=1,2,3", "port: give one, or as many as there are hosts"),
        ("sslmode=require&sslrootcert=system", "sslmode: with sslrootcert=system it can only be verify-full"),
        ("sslrootcert=system&sslcert=x", "sslcert cannot go with sslrootcert=system"),
        ("sslrootcert=/none", "sslrootcert: No such file or directory"),
        ("sslcrl=/none", "sslcrl: No such file or directory"),
        ("sslcert=/none&sslkey=/none", "sslcert, sslkey: No such file or directory"),
    ],
)
def test_what_is_not_understood_is_named_without_its_value(query: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        PostgresAddress.of(f"postgresql://user:{SECRET}@host/db?{query}")
    assert SECRET not in str(refused.value)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    file = tmp_path / "root.crt"
    file.write_text("not a certificate")
    with pytest.raises(ValueError, match="sslrootcert: the file is not in PEM format"):
        PostgresAddress.of(f"postgresql://h/db?sslmode=verify-full&sslrootcert={file}")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@ss@host/db",
        f"postgresql://user:{SECRET}/@host/db",
        f"postgresql://user:12/{SECRET}@host/db",
        f"postgresql://user:12?{SECRET}@host/db",
        f"postgresql://user:12#{SECRET}@host/db",
        f"postgresql://user:{SECRET}[@host/db",
        f"postgresql://user:{SECRET}@host:port/db",
        f"postgresql://user:{SECRET}@host:0/db",
        f"postgresql://user:{SECRET}@host:65536/db",
        f"postgresql://user:{SECRET}@one:1,,two:2/db",
    ],
)
def test_a_url_that_cannot_be_taken_apart_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encode special characters") as refused:
        PostgresAddress.of(url)
    assert SECRET not in str(refused.value)
