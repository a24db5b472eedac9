"""A throw-away Redis from the system's packages, on a free loopback port, without persistence."""

import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support.machine import NotHere
from tools.node import ports

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.02


class PrivateRedis:
    """Redis with a generated password; it keeps nothing across `stop` or `kill`. `folder` holds its log."""

    def __init__(self, folder: Path) -> None:
        """Choose port and password; nothing is started. Raises NotHere."""
        found = shutil.which("redis-server")
        if found is None:
            raise NotHere("Redis is not installed: install the package redis-server (Debian, Ubuntu)")
        self._program = found
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._port = ports.free_ports(1)[0]
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        """The server's address with its password."""
        return f"redis://:{self._password}@{ports.HOST}:{self._port}/0"

    def start(self) -> None:
        """Start the server, empty, and return when it answers."""
        if self._server is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._server = self._launch()
            self._await_ready(self._server)

    def stop(self) -> None:
        """End the server in order."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(STOP_TIMEOUT_S)
            self._server = None

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(STOP_TIMEOUT_S)
            self._server = None

    def freeze(self) -> None:
        """Let the server take connections and answer nothing (SIGSTOP)."""
        if self._server is not None:
            self._server.send_signal(signal.SIGSTOP)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def _log(self) -> Path:
        return self._folder / "redis.log"

    def _launch(self) -> subprocess.Popen[bytes]:
        """Settings go through standard input: a password among the arguments would show in the process list."""
        settings = [
            f"bind {ports.HOST}",
            f"port {self._port}",
            f"requirepass {self._password}",
            'save ""',
            "appendonly no",
            f'dir "{self._folder}"',
        ]
        with self._log.open("ab") as log:
            server = subprocess.Popen(
                [self._program, "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if server.stdin is not None:
            with server.stdin as standard_input:
                standard_input.write("\n".join(settings).encode())
        return server

    def _await_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while server.poll() is None and time.monotonic() < deadline:
            if self._answers():
                return
            time.sleep(POLL_INTERVAL_S)
        self.kill()
        raise RuntimeError(f"Redis did not start; its log is {self._log}")

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=1.0) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False
