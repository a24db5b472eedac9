"""Where the ledger's PostgreSQL is: a URL as libpq has it, taken apart."""

import re
import ssl
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SCHEMES = ("postgresql://", "postgres://", "postgresql+asyncpg://")
_PORT = 5432
_LAST_PORT = 65535
_CONNECT_TIMEOUT_S = 5
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_ONE_OF = {
    "sslmode": _MODES,
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    # The ledger writes: a server that takes no writes is of no use.
    "target_session_attrs": ("any", "primary", "read-write"),
}
_PASSED_ON = frozenset(
    {"dbname", "database", "user", "password", "passfile", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl"}
    | {"application_name", "options", *_ONE_OF}
)
"""What asyncpg reads itself; anything else it would send to the server as a setting."""
_OURS = frozenset({"host", "port", "connect_timeout", "ssl"})
_NAME = re.compile(r"[A-Za-z_]{1,40}")
NO_URL = "not a URL: check host and port, and percent-encode special characters in user and password"
_SYSTEM = "system"


class Place(NamedTuple):
    """One server: a host and a port, or the folder of a socket and the number in the socket's name."""

    host: str
    port: int

    def __str__(self) -> str:
        if self.is_socket:
            return f"{self.host}/.s.PGSQL.{self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_socket(self) -> bool:
        """Whether it is a socket of this machine."""
        return self.host.startswith("/")


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """What a URL of libpq says, in asyncpg's terms.

    `dsn` has everything but the places; `places` is empty where the URL names none, and libpq's own then hold.
    `trusts_system` is libpq's `sslrootcert=system`: the certificates that this machine trusts, and the host's name.
    """

    dsn: str
    places: tuple[Place, ...]
    trusts_system: bool
    connect_timeout_s: int
    """For each place."""

    @classmethod
    def of(cls, url: str) -> "PostgresAddress":
        """Take a URL apart; the ValueError names a parameter that is not understood, and quotes no value.

        https://www.postgresql.org/docs/current/libpq-connect.html, 32.1.1.2 and 32.1.2.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(NO_URL) from None
        login, _, netloc_places = parts.netloc.rpartition("@")
        outside = parts.path + parts.fragment + ("" if login else parts.query)
        if parts.fragment or "@" in login or "@" in outside:
            raise ValueError(NO_URL)
        given = _parameters(parts.query)
        places = _places(given.pop("host", netloc_places), given.pop("port", ""))
        timeout_s = _whole_seconds(given.pop("connect_timeout", str(_CONNECT_TIMEOUT_S)))
        trusts_system = _without_system(given)
        if len(places) > 1:
            given.setdefault("target_session_attrs", "read-write")
        _check_values(given, direct_is_safe=trusts_system)
        _check_files(given)
        dsn = f"postgresql://{login}@{parts.path}" if login else f"postgresql://{parts.path}"
        return cls(f"{dsn}?{urlencode(given)}" if given else dsn, places, trusts_system, timeout_s)


def _parameters(query: str) -> dict[str, str]:
    """The last value of each; as in SQLAlchemy's URLs `host` may be there several times, and `ssl` be the mode."""
    # A plus is a plus in libpq's URLs.
    pairs = [(name, value) for name, value in parse_qsl(query.replace("+", "%2B")) if value]
    for name, _value in pairs:
        if name not in _PASSED_ON | _OURS:
            shown = name if _NAME.fullmatch(name) else "a parameter"
            known = ", ".join(sorted(_PASSED_ON | _OURS))
            raise ValueError(f"{shown} is not understood in the URL, leave it out; these are: {known}")
    given = dict(pairs)
    if "host" in given:
        given["host"] = ",".join(value for name, value in pairs if name == "host")
    if mode := given.pop("ssl", None):
        given.setdefault("sslmode", {"true": "require", "false": "disable"}.get(mode.lower(), mode))
    return given


def _places(hosts: str, ports: str) -> tuple[Place, ...]:
    if not hosts:
        return (Place("localhost", _port(ports)),) if ports else ()
    each, numbers = hosts.split(","), ports.split(",")
    if len(numbers) not in (1, len(each)):
        raise ValueError("port: give one, or as many as there are hosts")
    numbers = numbers * len(each) if len(numbers) == 1 else numbers
    return tuple(_place(host, number) for host, number in zip(each, numbers, strict=True))


def _place(written: str, port: str) -> Place:
    host = unquote(written)
    if host.startswith("/"):
        return Place(host, _port(port))
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:\[\]/\s]+))(?::(.*))?", host)
    if not found:
        raise ValueError(NO_URL)
    return Place(found[1] or found[2], _port(found[3] or port))


def _port(written: str) -> int:
    if not written:
        return _PORT
    if not (written.isascii() and written.isdecimal() and 0 < int(written) <= _LAST_PORT):
        raise ValueError(NO_URL)
    return int(written)


def _whole_seconds(written: str) -> int:
    if not (written.isascii() and written.isdecimal() and int(written) > 0):
        raise ValueError("connect_timeout: give whole seconds, at least 1")
    return int(written)


def _without_system(given: dict[str, str]) -> bool:
    if given.get("sslrootcert") != _SYSTEM:
        return False
    del given["sslrootcert"]
    if given.pop("sslmode", "verify-full") != "verify-full":
        raise ValueError("sslmode: with sslrootcert=system it can only be verify-full")
    if left := sorted(name for name in given if name.startswith("ssl") and name != "sslnegotiation"):
        raise ValueError(f"{left[0]} cannot go with sslrootcert=system")
    return True


def _check_values(given: dict[str, str], *, direct_is_safe: bool) -> None:
    for name, values in _ONE_OF.items():
        if given.get(name, values[0]) not in values:
            raise ValueError(f"{name}: give one of {', '.join(values)}")
    is_encrypted = direct_is_safe or given.get("sslmode") in _MODES[3:]
    if given.get("sslnegotiation") == "direct" and not is_encrypted:
        raise ValueError("sslnegotiation: direct needs sslmode=require, verify-ca or verify-full")


def _check_files(given: dict[str, str]) -> None:
    """The certificates can be read: when a connection fails for them, asyncpg does not say which file it was."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in ("sslrootcert", "sslcrl"):
        if name in given:
            try:
                context.load_verify_locations(cafile=given[name])
            except OSError as error:
                raise ValueError(f"{name}: {_reason(error)}") from None
    if "sslcert" in given:
        try:
            context.load_cert_chain(given["sslcert"], given.get("sslkey"), lambda: given.get("sslpassword", ""))
        except OSError as error:
            raise ValueError(f"sslcert, sslkey: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "the file is not in PEM format, does not fit the other, or needs another sslpassword"
    return str(error.strerror)
