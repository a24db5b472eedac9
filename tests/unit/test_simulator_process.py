"""The simulator as a process: how it starts, says where it is, and ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[2]
DEADLINE_S = 20


@contextmanager
def simulator(**settings: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.simulator"],
        cwd=ROOT,
        env=os.environ | {"SMS_SIMULATOR_PORT": "0"} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ready_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.match(r"simulator ready: provider (http://127\.0\.0\.1:\d+)/messages, ", line)
    assert found, line
    return found[1]


def wait_for_a_call(url: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while requests.get(f"{url}/calls/summary", timeout=DEADLINE_S).json()["calls"] == 0:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_it_prints_where_it_is_and_sigterm_ends_it_with_a_late_answer_pending() -> None:
    with simulator(SMS_SIMULATOR_LATE_S="600") as process:
        url = ready_url(process)
        message = {"reference": "b:1", "to": "+8613800139007", "text": "hello"}
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as waiting:
            body = requests.Request("POST", f"{url}/messages", json=message).prepare().body
            assert isinstance(body, bytes)
            waiting.sendall(b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            # Asked on another connection, so the late one is known to be pending before the signal.
            wait_for_a_call(url)
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_accept_reset_is_a_reset_on_the_wire_and_the_next_call_is_served() -> None:
    with simulator() as process:
        url = ready_url(process)
        message = {"reference": "b:1", "to": "+8613800139008", "text": "hello"}
        with pytest.raises(requests.ConnectionError, match=r"[Rr]eset"):
            requests.post(f"{url}/messages", json=message, timeout=DEADLINE_S)
        assert requests.get(f"{url}/calls/summary", timeout=DEADLINE_S).json()["accepted"] == 1


def test_a_late_answer_comes_after_the_time_set() -> None:
    with simulator(SMS_SIMULATOR_LATE_S="0.2") as process:
        message = {"reference": "b:1", "to": "+8613800139007", "text": "hello"}
        response = requests.post(f"{ready_url(process)}/messages", json=message, timeout=DEADLINE_S)
        assert response.json()["message_id"]


def test_a_port_in_use_is_one_line_and_exit_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with simulator(SMS_SIMULATOR_PORT=str(port)) as process:
            _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert stderr.startswith(f"simulator: cannot listen on 127.0.0.1:{port}: ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("SMS_SIMULATOR_PORT", "http"), ("SMS_SIMULATOR_PORT", "70000"), ("SMS_SIMULATOR_LATE_S", "0")],
)
def test_a_bad_setting_is_one_line_that_names_it_and_exit_status_2(name: str, value: str) -> None:
    with simulator(**{name: value}) as process:
        _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert stderr.startswith(f"simulator: bad settings: {name}='{value}': ")
    assert stderr.count("\n") == 1
