"""The benchmark's HTTP client: bodies made beforehand, one connection kept open, times in milliseconds."""

import http.client
import time
from types import TracebackType
from urllib.parse import urlsplit

import orjson
from typing_extensions import Self

TEXT = "Hello, your parcel is here, code 8652."
_HEADERS = {"Content-Type": "application/json"}
_TIMEOUT_S = 120


class Client:
    """One keep-alive connection to one api."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def post(self, body: bytes) -> str:
        """Post a batch; its id (empty from an api that gives none). AssertionError for anything but a 202."""
        self._connection.request("POST", "/v1/batches", body, _HEADERS)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 202, content
        return str(orjson.loads(content).get("batch_id", ""))

    def timed_post(self, body: bytes) -> float:
        """Milliseconds from the request's first byte to the end of its 202."""
        began_s = time.perf_counter()
        self.post(body)
        return 1000 * (time.perf_counter() - began_s)

    def counts(self, batch_id: str) -> dict[str, int]:
        """How many numbers of a batch are in each state; empty while the dispatcher has not read it."""
        self._connection.request("GET", f"/v1/batches/{batch_id}")
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return dict(orjson.loads(content)["counts"])

    def await_count(self, batch_id: str, state: str, count: int, timeout_s: float, pause_s: float = 0.02) -> None:
        """Return when so many of the batch's numbers are in the state; AssertionError where they are not by then."""
        deadline_s = time.monotonic() + timeout_s
        while (counts := self.counts(batch_id)).get(state, 0) < count:
            assert time.monotonic() < deadline_s, f"not {count} {state} within {timeout_s:g} s: {counts}"
            time.sleep(pause_s)


def recipients(count: int) -> list[str]:
    """So many numbers in E.164, all different."""
    return [f"+86138{number:08d}" for number in range(count)]


def batch_body(count: int) -> bytes:
    """The request for a batch of so many numbers."""
    return orjson.dumps({"recipients": recipients(count), "content": TEXT})
