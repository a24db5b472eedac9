"""A private RabbitMQ node from the system's packages, for machines without Docker."""

from tools.node.errors import NodeError, NotInstalledError, NotReadyError, PortTakenError
from tools.node.node import Node

__all__ = ["Node", "NodeError", "NotInstalledError", "NotReadyError", "PortTakenError"]
