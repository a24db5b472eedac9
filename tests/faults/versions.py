"""What the faults were run on."""

from collections.abc import Iterable
from datetime import UTC, datetime
from platform import python_version

import requests

from tests.faults.table import Line
from tests.support.ledger import ask
from tests.support.trio import Trio

_SEEN: dict[str, str] = {}


def seen(trio: Trio) -> dict[str, str]:
    """The broker's and the database's versions; both are asked once."""
    kind, database_url = f"RabbitMQ ({trio.vhost.broker.kind})", trio.settings["SMS_DATABASE_URL"]
    try:
        if kind not in _SEEN:
            _SEEN[kind] = trio.vhost.broker.api("GET", "overview")["rabbitmq_version"]
    except requests.RequestException:
        pass  # the next run asks again
    if database_url.startswith("postgres") and "PostgreSQL" not in _SEEN:
        ((version,),) = ask(database_url, "SHOW server_version")
        _SEEN["PostgreSQL"] = version.split()[0]
    return _SEEN


def sentence(lines: Iterable[Line]) -> str:
    """All versions, and the date."""
    found = {name: version for line in lines for name, version in line.versions.items()}
    versions = ", ".join(f"{name} {version}" for name, version in sorted({**found, "Python": python_version()}.items()))
    return f"Measured on {datetime.now(UTC):%Y-%m-%d} with {versions}."
