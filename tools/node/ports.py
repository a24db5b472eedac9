"""Free ports on the loopback interface."""

import errno
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tools.node.errors import NodeError

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
    """`count` different ports that are free, none of which was given to a process of this user lately.

    A server listens seconds after its port was chosen; a choice at random by another process in between took one port
    in some thousand twice. So all processes go round the range together.
    """
    found: list[int] = []
    with _last_given() as file:
        kept = file.read(5)
        last = int(kept) if kept.isdecimal() else random.SystemRandom().randint(FIRST_PORT, LAST_PORT)
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            if len(found) == count:
                break
            last = last + 1 if FIRST_PORT <= last < LAST_PORT else FIRST_PORT
            if is_free(last):
                found.append(last)
        file.seek(0)
        file.truncate()
        file.write(str(last))
    if len(found) < count:
        raise NodeError(f"there are no {count} free ports from {FIRST_PORT} to {LAST_PORT}")
    return found


@contextmanager
def _last_given() -> Iterator[TextIO]:
    """The file that keeps the port given last, for this user's eyes, locked until it is closed."""
    path = Path(tempfile.gettempdir()) / f"sms-batch-last-port-{os.getuid()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
