"""HTTP servers whose clock a test sets: one in the place of the api, one in front of RabbitMQ's management API."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


class StandIn(ThreadingHTTPServer):
    """Answers as an api that is ready, or passes on what another server answers; `ahead_s` is by how much its clock
    differs."""

    daemon_threads = True

    def __init__(self, passed_on_to: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.passed_on_to = passed_on_to
        self.checks = {"broker": True, "ledger": True, "running": True}
        self.ahead_s = 0.0

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, authorization: str | None) -> tuple[int, bytes]:
        """Status and body."""
        if self.passed_on_to is None:
            ready = all(self.checks.values()) or path != "/readyz"
            return 200 if ready else 503, json.dumps({"checks": self.checks}).encode()
        headers = {"Authorization": authorization} if authorization else {}
        found = requests.get(self.passed_on_to.rstrip("/") + path, headers=headers, timeout=10)
        return found.status_code, found.content


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        status, body = self.server.answer(self.path, self.headers["Authorization"])
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) + self.server.ahead_s)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@contextmanager
def standing_in(passed_on_to: str | None = None) -> Iterator[StandIn]:
    """A server until the end of the block."""
    with StandIn(passed_on_to) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
