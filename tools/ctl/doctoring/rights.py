"""What the services' user may do on the virtual host: asked for, or tried out where that changes nothing."""

import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pydantic import BaseModel

from shared.management import NotAsked, NotThere
from shared.topology import DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, UNKNOWN_QUEUE, UNMATCHED_QUEUE, Topology
from tools.ctl.broker import compare
from tools.ctl.doctoring.amqp import connected
from tools.ctl.doctoring.findings import Finding, NotChecked
from tools.ctl.doctoring.system import System

_PEEKED = (DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, UNKNOWN_QUEUE, UNMATCHED_QUEUE)
"""Reading a message of these and putting it back changes nothing."""
_NOWHERE = "sms.doctor.nowhere"
_ACCESS_REFUSED = 403
_WANTED = r"'^sms\..*'"


class Permissions(BaseModel):
    """A user's regular expressions on a virtual host."""

    configure: str
    write: str
    read: str


def look_at_rights(system: System) -> list[Finding]:
    """What the user needs to be allowed and is not."""
    virtual_host = pika.URLParameters(system.urls.split(",")[0]).virtual_host
    lacking: Mapping[str, list[str]]
    try:
        lacking = lacking_by(_permissions(system, virtual_host), system.topology)
    except NotThere:
        lacking = {right: ["anything"] for right in Permissions.model_fields}
    except NotAsked:
        lacking = _tried(system)
    return [_finding(system.user, virtual_host, right, names) for right, names in lacking.items() if names]


def lacking_by(permissions: Permissions, topology: Topology) -> dict[str, list[str]]:
    """For each right the exchanges and queues that it does not cover; all three are needed on all."""
    names = sorted({each.name for each in topology.exchanges} | {each.name for each in topology.queues})
    try:
        return {
            right: [name for name in names if not re.search(pattern or "^$", name)]
            for right, pattern in permissions.model_dump().items()
        }
    except re.error:
        raise NotChecked("the permissions are regular expressions that only RabbitMQ can read") from None


def _permissions(system: System, virtual_host: str) -> Permissions:
    path = f"/api/permissions/{quote(virtual_host, safe='')}/{quote(system.user, safe='')}"
    return system.management.ask(path, Permissions)


def _tried(system: System) -> Mapping[str, list[str]]:
    """What is refused: an identical declaration, a publish that leads nowhere, a look at a dead letter."""
    different = compare(system.urls, system.topology)
    differs = {each.name for each in different}
    exchanges = [each.name for each in system.topology.exchanges if each.name not in differs]
    with connected(system.urls) as connection:
        return {
            "configure": [each.name for each in different if each.is_refused],
            "write": list(_refused(connection, exchanges, _publish_nowhere)),
            "read": list(_refused(connection, [name for name in _PEEKED if name not in differs], _peek)),
        }


def _refused(
    connection: pika.BlockingConnection, names: Iterable[str], attempt: Callable[[BlockingChannel, str], None]
) -> Iterable[str]:
    for name in names:
        try:
            with connection.channel() as channel:
                attempt(channel, name)
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != _ACCESS_REFUSED:
                raise
            yield name


def _publish_nowhere(channel: BlockingChannel, exchange: str) -> None:
    channel.confirm_delivery()
    try:
        channel.basic_publish(exchange, _NOWHERE, b"", mandatory=True)
    except pika.exceptions.UnroutableError:
        return


def _peek(channel: BlockingChannel, queue: str) -> None:
    method, _properties, _body = channel.basic_get(queue)
    if method is not None:
        channel.basic_nack(method.delivery_tag, requeue=True)


def _finding(user: str, virtual_host: str, right: str, names: list[str]) -> Finding:
    what = f"the user {user} may not {right} {', '.join(names)} on the virtual host {virtual_host}"
    todo = f"rabbitmqctl set_permissions -p {virtual_host} {user} {_WANTED} {_WANTED} {_WANTED}"
    return Finding(what, todo)
