"""Connections that leave this machine as plain text: to the broker, the database, Redis."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from shared.amqp.nodes import split_urls
from shared.ledger.address import PostgresAddress
from shared.ledger.diagnosing import DiagnosisLedger
from tools.ctl.doctoring.findings import Finding, hint
from tools.ctl.doctoring.system import System

_PLAIN = ("amqp", "redis")


def look_at_urls(system: System) -> list[Finding]:
    """The broker's and Redis's URLs that are without TLS."""
    broker = [url for url in split_urls(system.urls) if _is_plain(url)]
    redis = [system.redis_url] if system.redis_url and _is_plain(system.redis_url) else []
    return [
        *_findings("the broker", map(_host, broker), "amqps:// in SMS_AMQP_URL"),
        *_findings("Redis", map(_host, redis), "rediss:// in SMS_REDIS_URL"),
    ]


def look_at_database(system: System) -> list[Finding]:
    """The ledger's connection as its server sees it; behind a pooler, that is the pooler's."""
    return about_database(system.database_url, is_encrypted=asyncio.run(_is_encrypted(system)))


def about_database(url: str, *, is_encrypted: bool | None) -> list[Finding]:
    """What is to be said of the ledger's connection; `is_encrypted` is None where the database is a file."""
    if is_encrypted is not False:
        return []
    hosts = [place.host for place in PostgresAddress.of(url).places if not place.is_socket]
    return _findings("the database", hosts, "sslmode=verify-full and sslrootcert in SMS_DATABASE_URL")


def plain(part: str, host: str, addresses: Iterable[str], todo: str) -> Finding | None:
    """What is to be said of a plain connection to a host with these addresses: nothing on this machine, a hint in a
    private network (compose's is one), and beyond it that it is wrong."""
    numbers = [ipaddress.ip_address(address) for address in addresses if not _is_of_this_machine(address)]
    if not numbers:
        return None
    what = f"the connections to {part} at {host} are not encrypted"
    if any(number.is_global for number in numbers):
        return Finding(f"{what}, and leave the private network: passwords, numbers and texts can be read", todo)
    return hint(f"{what}; they stay in a private network", f"unless nobody else is in it: {todo}")


def _findings(part: str, hosts: Iterable[str], todo: str) -> list[Finding]:
    found = (plain(part, host, _addresses(host), todo) for host in dict.fromkeys(hosts))
    return [finding for finding in found if finding]


def _is_plain(url: str) -> bool:
    return urlsplit(url).scheme in _PLAIN


def _host(url: str) -> str:
    return urlsplit(url).hostname or "localhost"


def _addresses(host: str) -> list[str]:
    """The addresses of a host, none where nobody knows it: that it cannot be reached is said elsewhere."""
    try:
        return [str(found[4][0]).partition("%")[0] for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except OSError:
        return []


def _is_of_this_machine(address: str) -> bool:
    """Loopback, or another address of its own, as on the bridge to Docker: only those can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


async def _is_encrypted(system: System) -> bool | None:
    async with system.ledger() as database:
        return await DiagnosisLedger(database).is_encrypted()
