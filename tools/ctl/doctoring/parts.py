"""The parts of the system: each is reached, or it is said why not, and what depends on it is left out."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis
import requests

from shared.errors import LedgerUnavailable
from shared.ledger.database import known_revisions
from shared.ledger.diagnosing import DiagnosisLedger
from shared.management import NotAllowed, NotAsked, Unanswered
from shared.places import place
from tools.ctl.api import is_loopback
from tools.ctl.doctoring.amqp import NodeThere, nodes
from tools.ctl.doctoring.findings import Finding, NotChecked, hint
from tools.ctl.doctoring.management import Myself
from tools.ctl.doctoring.system import System

_TIMEOUT_S = (3, 5)
_REDIS_TIMEOUT_S = 3
_REDIS_PORT = 6379
_READ_ONLY_TODO = "after a failover SMS_DATABASE_URL may lead to a standby: name the primary, or promote this one"


class Part(StrEnum):
    """What a check needs."""

    BROKER = "the broker"
    MANAGEMENT = "the management API"
    LEDGER = "the ledger"
    REDIS = "Redis"
    API = "the api"


@dataclass(frozen=True)
class Condition:
    """What was found of a part; `unusable` is why nothing that needs it can be looked at."""

    findings: tuple[Finding, ...] = ()
    unusable: str | None = None


def broker(system: System) -> Condition:
    """Every node takes connections; one is enough for the other checks."""
    there = nodes(system.urls)
    findings = tuple(_unreachable_node(node) for node in there if node.error)
    return Condition(findings, "the broker cannot be reached" if len(findings) == len(there) else None)


def management(system: System) -> Condition:
    """The management API answers, and lets the user in."""
    try:
        system.management.ask("/api/whoami", Myself)
    except Unanswered as error:
        todo = "rabbitmq-plugins enable rabbitmq_management; or set SMS_MANAGEMENT_URL (empty: there is none)"
        return Condition((Finding(str(error), todo),), str(error))
    except NotAllowed as error:
        return Condition(
            (hint(str(error), f"rabbitmqctl set_user_tags {system.management.user} monitoring"),), str(error)
        )
    except NotAsked as error:
        return Condition((), str(error))
    return Condition()


def ledger(system: System) -> Condition:
    """The database answers, and has the tables of this version."""
    try:
        there, is_read_only = asyncio.run(_revision(system))
    except NotChecked as error:
        sentence = f"the ledger is not there: {error}"
        return Condition((Finding(sentence, "check SMS_DATABASE_URL; a service that starts makes it"),), sentence)
    except LedgerUnavailable as error:
        finding = Finding(
            f"the ledger cannot be reached: {error}", "check SMS_DATABASE_URL, and that the database runs"
        )
        return Condition((finding,), "the ledger cannot be reached")
    if wrong := tables_differ(there, known_revisions()):
        return Condition((wrong,), "the ledger's tables are of another version")
    return Condition(
        (Finding("PostgreSQL is read-only, and the services wait", _READ_ONLY_TODO),) if is_read_only else ()
    )


def tables_differ(there: str | None, known: list[str]) -> Finding | None:
    """What is wrong with the version of the ledger's tables; `known` are this code's, the newest first."""
    if there == known[0]:
        return None
    if there is None:
        return Finding("the ledger has no tables", "start a service: it makes them")
    if there in known:
        what = f"the ledger's tables are of version {there}, this code needs {known[0]}"
        return Finding(what, "restart the services in this version: the first one migrates")
    what = f"the ledger's tables are of version {there}, which this smsctl does not know: it is older than the services"
    return Finding(what, "use the smsctl of the services' version")


def redis_server(system: System) -> Condition:
    """Redis answers, where it is used."""
    if system.redis_url is None:
        return Condition()
    timeouts = {"socket_timeout": _REDIS_TIMEOUT_S, "socket_connect_timeout": _REDIS_TIMEOUT_S}
    try:
        with redis.Redis.from_url(system.redis_url, **timeouts) as client:
            client.ping()
    except redis.RedisError as error:
        todo = "check SMS_REDIS_URL; without Redis all goes on, with more work for the database"
        return Condition((Finding(f"Redis cannot be reached: {place(system.redis_url, _REDIS_PORT)}: {error}", todo),))
    return Condition()


def api(system: System) -> Condition:
    """The api says that it is ready."""
    try:
        answer = api_answer(system.api_url, "/readyz")
    except requests.RequestException as error:
        what = f"the api does not answer at {system.api_url} ({type(error).__name__})"
        return Condition((Finding(what, "make run, or docker compose start api; check SMS_API_URL"),), what)
    wrong = not_ready(system.api_url, answer.status_code, _json(answer))
    return Condition((wrong,) if wrong else ())


def api_answer(url: str, path: str) -> requests.Response:
    """What the api answers; a RequestException where it does not."""
    with requests.Session() as http:
        http.trust_env = not is_loopback(url)  # no proxy leads to this machine
        return http.get(url + path, timeout=_TIMEOUT_S, allow_redirects=False)


def not_ready(url: str, status: int, body: Any) -> Finding | None:
    """What the api's /readyz says to be wrong."""
    checks = body.get("checks") if isinstance(body, dict) else None
    if not isinstance(checks, dict):
        return Finding(f"what answers at {url} is not the api ({status})", "check SMS_API_URL")
    reasons = body.get("reasons", {})
    failing = [f"{name} ({reasons[name]})" if name in reasons else name for name, holds in checks.items() if not holds]
    return Finding(f"the api is not ready: {', '.join(failing)}", "read its log") if failing else None


PARTS = {
    Part.BROKER: broker,
    Part.MANAGEMENT: management,
    Part.LEDGER: ledger,
    Part.REDIS: redis_server,
    Part.API: api,
}


def _unreachable_node(node: NodeThere) -> Finding:
    what = f"the broker cannot be reached at {node.place}: {node.error}"
    return Finding(what, "check that RabbitMQ runs there, and SMS_AMQP_URL")


async def _revision(system: System) -> tuple[str | None, bool]:
    """The tables' version, and whether the server takes no writes."""
    async with system.ledger() as database:
        return await database.revision(), await DiagnosisLedger(database).is_read_only()


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
