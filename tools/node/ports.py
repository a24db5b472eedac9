"""Free ports on the loopback interface."""

import errno
import random
import socket

HOST = "127.0.0.1"
# Below Linux's range for outgoing connections (32768 and up): while a server is down, a client that keeps
# reconnecting to a port of that range can be given the same port as its own, and connects to itself.
FIRST_PORT, LAST_PORT = 20000, 31999


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now; ports in TIME_WAIT count as free."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different ports that were free just now."""
    candidates = random.SystemRandom().sample(range(FIRST_PORT, LAST_PORT + 1), k=LAST_PORT + 1 - FIRST_PORT)
    free = (port for port in candidates if is_free(port))
    return [next(free) for _ in range(count)]
