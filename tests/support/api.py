"""The api as a process of its own, and what one sees of it from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import requests

from tools.node import ports

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
POLL_S = 0.05


def eventually(check: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """What `check` returns once it is true; AssertionError with `what` where it is not in time."""
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        if found := check():
            return found
        time.sleep(POLL_S)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


class ApiProcess:
    """`python -m services.api` with its log in a file; killed at the end of the block, unless it has ended."""

    def __init__(self, folder: Path, amqp_url: str, database_url: str, **settings: str) -> None:
        self._folder = folder
        self._port = ports.free_ports(1)[0]
        self._settings = {
            "SMS_AMQP_URL": amqp_url,
            "SMS_DATABASE_URL": database_url,
            "SMS_API_PORT": str(self._port),
            **settings,
        }
        self.url = f"http://127.0.0.1:{self._port}"
        self.process: subprocess.Popen[bytes]

    def start(self) -> Self:
        """Start the process; it may not listen yet."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SMS_")}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.api"], cwd=ROOT, env=environment | self._settings, stderr=log
            )
        return self

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def stop(self) -> int:
        """End it with SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def await_listening(self) -> Self:
        """Wait until it answers at all."""
        eventually(lambda: self._status("/healthz") == 200, "the api listens")
        return self

    def await_ready(self) -> Self:
        """Wait until it is ready to accept batches."""
        eventually(lambda: self._status("/readyz") == 200, "the api is ready")
        return self

    def post(self, recipients: Any = ("+8613800138000",), **headers: str) -> requests.Response:
        """Post a batch as JSON."""
        body = {"recipients": list(recipients), "content": "hello"}
        return requests.post(f"{self.url}/v1/batches", json=body, headers=headers, timeout=DEADLINE_S)

    def get(self, path: str, **options: Any) -> requests.Response:
        """Get a path."""
        return requests.get(f"{self.url}{path}", timeout=DEADLINE_S, **options)

    @property
    def log_file(self) -> Path:
        return self._folder / "api.log"

    @property
    def log(self) -> str:
        """Everything that it has logged so far."""
        return self.log_file.read_text()

    def _status(self, path: str) -> int | None:
        assert self.process.poll() is None, f"the api has ended: {self.log[-2000:]}"
        try:
            return requests.get(f"{self.url}{path}", timeout=5).status_code
        except requests.RequestException:
            return None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()


class Management:
    """The parts of RabbitMQ's management API that tests of the api look at."""

    def __init__(self, url: str, user: str, password: str, vhost: str) -> None:
        self._url, self._auth, self._vhost = url.rstrip("/"), (user, password), quote(vhost, safe="")

    def call(self, method: str, path: str, **body: Any) -> Any:
        """One call below `/api`; `{vhost}` in the path is ours."""
        path = path.replace("{vhost}", self._vhost)
        answer = requests.request(
            method, f"{self._url}/api/{path}", auth=self._auth, json=body or None, timeout=DEADLINE_S
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def messages(self, queue: str, count: int = 1000) -> list[dict[str, Any]]:
        """The messages in a queue, put back after the look."""
        found: list[dict[str, Any]] = self.call(
            "POST", f"queues/{{vhost}}/{queue}/get", count=count, ackmode="ack_requeue_true", encoding="auto"
        )
        return found
