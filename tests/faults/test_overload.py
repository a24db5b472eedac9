"""Far more than can be taken at once, and what nobody should send: bounded memory, bounded answers, all goes on."""

import select
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import orjson
import pytest
import requests

from tests.conftest import Start
from tests.faults.conftest import FaultRun
from tests.faults.test_kills import ends_as, plain_numbers
from tests.support.api import post
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess
from tests.support.trio import Trio

MIB = 1024 * 1024
API_PEAK_MIB, WORKER_PEAK_MIB = 350, 250
AT_ONCE = 50
BOUNDED_S = 60
"""Every request is answered by then, one way or the other."""
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PROBLEM = "application/problem+json"

Send = Callable[[ServiceProcess], tuple[int, bytes]]
"""Sends a request; the status and the head of the answer."""


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet."""
    own = {"SMS_PROVIDER_TIMEOUT_S": "20", "SMS_AMQP_URL": each_vhost.amqp_url}
    return Trio(each_vhost, simulator, {**settings, **own}, start)


def memory_is_bounded(trio: Trio) -> None:
    """No process has ever held more than it may."""
    assert trio.api.peak_memory_mib() < API_PEAK_MIB
    for worker in (trio.dispatcher, *trio.senders):
        assert worker.peak_memory_mib() < WORKER_PEAK_MIB, worker.module


@pytest.mark.parametrize(("batches", "size"), [(100, 20), pytest.param(100, 1000, id="100000_numbers")])
@pytest.mark.scenario(33, "100 batches at once")
def test_a_hundred_batches_at_once_are_taken_or_told_to_come_back(
    trio: Trio, batches: int, size: int, fault: FaultRun
) -> None:
    trio.up()
    recipients = plain_numbers(batches * size)

    def send(number: int) -> requests.Response:
        return post(trio.api, recipients[number * size : (number + 1) * size])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, range(batches)))
    assert {answer.status_code for answer in answers} <= {202, 429, 503}
    accepted = [answer.json()["batch_id"] for answer in answers if answer.status_code == 202]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status_code != 202)
    assert accepted
    trio.posted |= dict.fromkeys(accepted, size)
    fault.conserved(trio, accepted, timeout_s=900)
    assert sum(trio.provider_calls(batch_id) != {} for batch_id in accepted) == len(accepted)
    memory_is_bounded(trio)


def body_of_100_mb(api: ServiceProcess) -> tuple[int, bytes]:
    """Send until the answer comes: the status, and the head of the answer."""
    head = "POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
    with socket.create_connection(("127.0.0.1", api.port), timeout=BOUNDED_S) as connection:
        connection.sendall(f"{head}\r\nContent-Length: {100 * MIB}\r\n\r\n".encode())
        with suppress(ConnectionError):  # it need not read on once it has answered
            while not select.select([connection], [], [], 0)[0]:
                connection.sendall(b" " * MIB)
        answer = connection.recv(64 * 1024)
    return int(answer.split()[1]), answer


def refusal(path: str, headers: dict[str, str], body: Callable[[], bytes]) -> Send:
    """Posts a body; the status and the head of the answer."""

    def send(api: ServiceProcess) -> tuple[int, bytes]:
        answer = requests.post(f"{api.url}{path}", data=body(), headers=headers, timeout=BOUNDED_S)
        return answer.status_code, answer.headers["Content-Type"].encode() + answer.content

    return send


def a_million_numbers() -> bytes:
    return orjson.dumps({"content": "x", "recipients": [f"+86138{number:08d}" for number in range(1_000_000)]})


HOSTILE: dict[str, tuple[Send, int]] = {
    "100_mb": (body_of_100_mb, 413),
    "1000000_numbers": (refusal("/v1/batches", JSON, a_million_numbers), 413),
    "1000000_short_numbers": (
        refusal("/v1/batches", JSON, lambda: b'{"content":"x","recipients":[' + b"1," * 999_999 + b"1]}"), 422,
    ),
    "nested_lists": (refusal("/v1/batches", JSON, lambda: b"[" * 5_000_000), 400),
    "nested_objects": (refusal("/v1/batches", JSON, lambda: b'{"recipients":' * 500_000), 400),
    "bad_utf8": (refusal("/v1/batches", JSON, lambda: b'{"content":"' + b"\xff" * 100_000 + b'"}'), 400),
    "bad_utf8_in_a_form": (refusal("/send-sms", FORM, lambda: b"mobiles=1&content=" + b"%ff" * 100_000), 400),
    "100000_fields": (refusal("/send-sms", FORM, lambda: b"&".join(b"f%d=1" % n for n in range(100_000))), 422),
}  # fmt: skip


@pytest.mark.quick(only_matrix=True)
@pytest.mark.scenario(30, "100 MB, 1,000,000 numbers, nested JSON, bad UTF-8, a form of 100,000 fields")
def test_what_nobody_should_send_is_refused_and_others_are_answered_meanwhile(trio: Trio, fault: FaultRun) -> None:
    trio.up(senders=1)
    with ThreadPoolExecutor(2) as pool:
        hostile = {name: pool.submit(send, trio.api) for name, (send, _status) in HOSTILE.items()}
        good = [trio.post(plain_numbers(20))]
        while not all(refused.done() for refused in hostile.values()):
            good.append(trio.post(plain_numbers(20)))
    answers = {name: refused.result() for name, refused in hostile.items()}
    assert {name: status for name, (status, _) in answers.items()} == {
        name: status for name, (_send, status) in HOSTILE.items()
    }
    assert all(PROBLEM.encode() in head for _status, head in answers.values())
    assert len(good) > len(HOSTILE)
    fault.conserved(trio, good)
    assert ends_as(trio, good[0]) == {"sent": 20}
    memory_is_bounded(trio)
