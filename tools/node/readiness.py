"""Whether a node's two doors answer: AMQP and the management API."""

import base64
import http.client
import socket

from tools.node.config import NodeConfig
from tools.node.ports import HOST

PROBE_TIMEOUT_S = 2.0
AMQP_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD_FRAME = b"\x01"


def answers(config: NodeConfig) -> bool:
    """Whether both doors answer. Management is asked first: it opens last, and each early AMQP probe is a log line."""
    return management_answers(config) and amqp_answers(config)


def amqp_answers(config: NodeConfig) -> bool:
    """The broker greets a client with connection.start."""
    try:
        with socket.create_connection((HOST, config.amqp_port), PROBE_TIMEOUT_S) as client:
            client.sendall(AMQP_PROTOCOL_HEADER)
            return client.recv(1) == METHOD_FRAME
    except OSError:
        return False


def management_answers(config: NodeConfig) -> bool:
    """The management API knows our user and can describe the node."""
    credentials = base64.b64encode(f"{config.user}:{config.password}".encode()).decode()
    client = http.client.HTTPConnection(HOST, config.management_port, timeout=PROBE_TIMEOUT_S)
    try:
        client.request("GET", "/api/overview", headers={"Authorization": f"Basic {credentials}"})
        return client.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()
