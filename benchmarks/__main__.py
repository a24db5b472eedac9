"""Measures accepting, splitting, draining and memory on this machine, and prints what it saw."""

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import orjson
import pika
import requests

from benchmarks.parts import Parts, running_parts, when
from tests.support.processes import ServiceProcess

BIG = 100_000
ACCEPTS = {1: 300, 1_000: 100, BIG: 15}
"""How often a batch of each size is posted to measure the time to its 202."""
DRAINED = 20_000
RUNS = 3


def main() -> None:
    """Run every measurement once set up, one after the other; each on an otherwise idle system."""
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    with tempfile.TemporaryDirectory() as folder, running_parts(Path(folder)) as parts:
        print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        print(f"{parts.versions}; the simulator as the provider, one call per number\n")
        api = parts.start("services.api")
        accept(api)
        purge(parts, "sms.batches")
        dispatcher = parts.start("services.dispatcher", SMS_OUTBOUND_DEPTH=str(BIG))
        split(parts, api)
        dispatcher.stop()
        dispatcher = parts.start("services.dispatcher")
        senders = [parts.start("services.sender") for _ in range(2)]
        drain(api)
        memory(api, {"api": api, "dispatcher": dispatcher, "sender 1": senders[0], "sender 2": senders[1]})


def accept(api: ServiceProcess) -> None:
    """From the request's first byte to the 202, by one client; nothing consumes meanwhile."""
    print(f"{'accept (ms)':24}{'p50':>9}{'p99':>9}{'max':>9}")
    for recipients, times in ACCEPTS.items():
        body = {"recipients": numbers(recipients), "content": "Hello"}
        took_ms = sorted(1000 * timed_post(api, body)[0] for _ in range(times))
        p99 = took_ms[min(len(took_ms) - 1, round(0.99 * len(took_ms)))]
        print(f"{recipients:>10,} recipients   {statistics.median(took_ms):9.1f}{p99:9.1f}{took_ms[-1]:9.1f}")


def split(parts: Parts, api: ServiceProcess) -> None:
    """From the 202 to the last confirm of a batch of 100,000, ledger rows written and marked; no sender runs."""
    rates = []
    for _ in range(RUNS):
        _took_s, batch_id = timed_post(api, {"recipients": numbers(BIG), "content": "Hello"})
        began_s = time.perf_counter()
        when(api, batch_id, BIG, "queued")
        rates.append(BIG / (time.perf_counter() - began_s))
        purge(parts, "sms.outbound.bulk")
    report("split (numbers/s)", rates)


def purge(parts: Parts, queue: str) -> None:
    """Empty a queue of what one measurement left, so that it doesn't run beside the next."""
    with pika.BlockingConnection(pika.URLParameters(parts.settings["SMS_AMQP_URL"])) as connection:
        connection.channel().queue_purge(queue)


def drain(api: ServiceProcess) -> None:
    """From the post to the last number recorded, two senders, one provider call per number."""
    rates = []
    for _ in range(RUNS):
        began_s = time.perf_counter()
        _took_s, batch_id = timed_post(api, {"recipients": numbers(DRAINED), "content": "Hello"})
        when(api, batch_id, DRAINED, "sent")
        rates.append(DRAINED / (time.perf_counter() - began_s))
    report("drain (numbers/s)", rates)


def memory(api: ServiceProcess, processes: dict[str, ServiceProcess]) -> None:
    """Each process's peak over all of the above and one batch of 100,000 to its end."""
    began_s = time.perf_counter()
    _took_s, batch_id = timed_post(api, {"recipients": numbers(BIG), "content": "Hello"})
    when(api, batch_id, BIG, "sent")
    report(f"drain of {BIG:,}", [BIG / (time.perf_counter() - began_s)])
    print("\npeak memory (MiB)")
    for name, process in processes.items():
        print(f"  {name:22}{process.peak_memory_mib():9.0f}")


def timed_post(api: ServiceProcess, body: object) -> tuple[float, str]:
    """Post a batch; the seconds to its 202, and its id."""
    encoded, headers = orjson.dumps(body), {"Content-Type": "application/json"}
    began_s = time.perf_counter()
    answer = requests.post(f"{api.url}/v1/batches", data=encoded, headers=headers, timeout=60)
    took_s = time.perf_counter() - began_s
    assert answer.status_code == 202, answer.text
    return took_s, str(answer.json()["batch_id"])


def numbers(count: int) -> list[str]:
    """Numbers that the simulator accepts."""
    return [f"+86138{number // 8000:04d}{number % 8000:04d}" for number in range(count)]


def report(name: str, rates: list[float]) -> None:
    """A line with the median and each run."""
    print(f"{name:24}{statistics.median(rates):9,.0f}   (runs: {', '.join(f'{rate:,.0f}' for rate in rates)})")


if __name__ == "__main__":
    main()
