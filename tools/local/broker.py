"""The private broker of a local run: the node in the run folder, its management UI on the port people know."""

import secrets
from dataclasses import asdict, replace
from pathlib import Path

from tools.local.errors import PortTaken
from tools.local.settings import LocalSettings
from tools.node import Node, NodeError
from tools.node.config import NodeConfig
from tools.node.ports import free_ports, is_free


def start(settings: LocalSettings) -> Node:
    """The running node, started if it was not; raises PortTaken for the management UI's port, and NodeError."""
    node = _prepared(settings)
    if not node.running() and not is_free(node.config.management_port):
        raise PortTaken(
            f"port {node.config.management_port} (RabbitMQ's management UI) is taken by another process: "
            "end that, or choose another with SMS_MANAGEMENT_PORT"
        )
    node.start()
    return node


def existing(folder: Path) -> Node | None:
    """The node of the run folder, running or not; None where there has never been one."""
    try:
        return Node.load(_node_folder(folder))
    except NodeError:
        return None


def _prepared(settings: LocalSettings) -> Node:
    node = existing(settings.folder)
    if node is None:
        return _node(_fresh(_node_folder(settings.folder), settings.management_port))
    if node.running():
        return node
    return _node(replace(node.config, management_port=settings.management_port))


def _fresh(folder: Path, management_port: int) -> NodeConfig:
    amqp, prometheus, dist, epmd = free_ports(4)
    return NodeConfig(
        folder=folder,
        amqp_port=amqp,
        management_port=management_port,
        prometheus_port=prometheus,
        dist_port=dist,
        epmd_port=epmd,
        user="sms",
        password=secrets.token_hex(16),
    )


def _node(config: NodeConfig) -> Node:
    return Node(**asdict(config))


def _node_folder(folder: Path) -> Path:
    return folder / "node"
