"""RabbitMQ itself: its version, its alarms and nodes, and the deprecated features that are in use."""

import re

from pydantic import BaseModel

from shared.management import NotThere
from tools.ctl.doctoring.amqp import nodes
from tools.ctl.doctoring.findings import Finding, NotChecked, hint
from tools.ctl.doctoring.system import System

_OLDEST = (3, 10, 0)
_FIRST_OF_4 = (4, 0, 0)
_DEAD_LETTERING_FIXED = (4, 3, 3)
_RECOVERY_FIXED = (4, 3, 5)
_TESTED = ((3, 10), (4, 3))

_UPGRADE = "upgrade RabbitMQ to 4.3.5 or later, one node after the other"
_DEAD_LETTERING = (
    "at-least-once dead-lettering of a quorum queue can get stuck for good after its members changed (fixed in 4.3.3)"
)
_RECOVERY = "a quorum queue can come back from a checkpoint with a part of its state missing (fixed in 4.3.5)"
_NO_TTL = "its quorum queues know neither a message TTL nor at-least-once dead-lettering, which this system is built on"
_FORGETFUL = "killed within a second of a queue's declaration, RabbitMQ 3.10 can come back without the queue"


class NodeState(BaseModel):
    """A node as the management API tells it."""

    name: str
    running: bool = True
    mem_alarm: bool = False
    disk_free_alarm: bool = False
    partitions: list[str] = []


class Alarm(BaseModel):
    """An alarm in force."""

    node: str
    resource: str


class Alarms(BaseModel):
    """The health check's answer."""

    status: str
    alarms: list[Alarm] = []


class DeprecatedFeature(BaseModel):
    """A feature that RabbitMQ is going to remove."""

    name: str
    desc: str = ""
    doc_url: str = ""


def look_at_versions(system: System) -> list[Finding]:
    """The nodes whose version has known bugs; each version is named once."""
    versions = {node.version for node in nodes(system.urls) if node.version}
    return [finding for version in sorted(versions) if (finding := about_version(version))]


def about_version(version: str) -> Finding | None:
    """What is to be said of a version of RabbitMQ, by its release notes and what was tested."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise NotChecked(f"{version} is no version of RabbitMQ")
    major, minor, patch = map(int, found.groups())
    numbers = major, minor, patch
    if numbers < _OLDEST:
        return Finding(f"RabbitMQ {version} is older than 3.10: {_NO_TTL}", _UPGRADE)
    if _FIRST_OF_4 <= numbers < _RECOVERY_FIXED:
        known = _RECOVERY if numbers >= _DEAD_LETTERING_FIXED else f"{_DEAD_LETTERING}; {_RECOVERY}"
        return Finding(f"RabbitMQ {version} is older than 4.3.5: {known}", _UPGRADE)
    if (major, minor) == _TESTED[0]:
        return hint(f"RabbitMQ {version}: {_FORGETFUL}", "the services declare it again when they reconnect")
    if (major, minor) not in _TESTED:
        return hint(f"RabbitMQ {version} is none of the versions that this is tested on (3.10, 4.3)")
    return None


def look_at_alarms(system: System) -> list[Finding]:
    """The alarms that keep the broker from taking messages."""
    there = system.management.ask("/api/health/checks/alarms", Alarms)
    return [_alarm(each) for each in there.alarms]


def look_at_nodes(system: System) -> list[Finding]:
    """The nodes of the cluster that are down, or do not see each other."""
    there = system.management.ask("/api/nodes", list[NodeState])
    return [finding for each in there if (finding := about_node(each))]


def about_node(node: NodeState) -> Finding | None:
    """What is wrong with a node."""
    if not node.running:
        return Finding(f"RabbitMQ's node {node.name} is down", "start it: docker compose start, or on its host")
    if node.partitions:
        what = (
            f"RabbitMQ's node {node.name} was cut off from {', '.join(node.partitions)}, and they are not one cluster"
        )
        return Finding(what, "restart the nodes of the smaller side")
    return None


def look_at_deprecated_features(system: System) -> list[Finding]:
    """The deprecated features in use, by anybody on the broker."""
    try:
        used = system.management.ask("/api/deprecated-features/used", list[DeprecatedFeature])
    except NotThere:
        raise NotChecked("this version of RabbitMQ does not tell") from None
    return [
        Finding(
            f"the deprecated feature {each.name} is in use on the broker" + (f": {each.desc}" if each.desc else ""),
            f"find who uses it before the next upgrade{f': {each.doc_url}' if each.doc_url else ''}",
        )
        for each in used
    ]


def _alarm(alarm: Alarm) -> Finding:
    freed = "free disk space there" if alarm.resource.startswith("disk") else "give it memory, or find what takes it"
    what = f"{alarm.resource} alarm on RabbitMQ's node {alarm.node}: the broker takes no messages"
    return Finding(what, f"{freed} (the api answers 503 meanwhile, nothing is lost)")
