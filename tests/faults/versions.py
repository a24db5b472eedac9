"""What the faults were run on."""

import platform
from datetime import UTC, datetime

import requests

from tests.support.ledger import ask
from tests.support.trio import Trio

_SEEN: dict[str, str] = {}


def note(trio: Trio) -> None:
    """Ask the broker and the database which versions they are, once each."""
    kind, database_url = f"RabbitMQ ({trio.vhost.broker.kind})", trio.settings["SMS_DATABASE_URL"]
    try:
        if kind not in _SEEN:
            _SEEN[kind] = trio.vhost.broker.api("GET", "overview")["rabbitmq_version"]
    except requests.RequestException:
        pass  # the next run asks again
    if database_url.startswith("postgres") and "PostgreSQL" not in _SEEN:
        ((version,),) = ask(database_url, "SHOW server_version")
        _SEEN["PostgreSQL"] = version.split()[0]


def sentence() -> str:
    """The versions seen, and the date."""
    seen = {**_SEEN, "Python": platform.python_version()}
    versions = ", ".join(f"{name} {version}" for name, version in sorted(seen.items()))
    return f"Measured on {datetime.now(UTC):%Y-%m-%d} with {versions}."
