"""How each framework's processes are started: one dispatcher, two senders, no log of single messages.

What was tried, and by which these settings were chosen (CPU seconds per 10,000 numbers, its processes alone):

- FastStream: prefetch 20, 100, 300: 8 to 9; publishes at once: 100 9.4, 500 8.3, 2,000 8.3.
- TaskIQ: 30, 100, 300 tasks at once; 500 and 2,000 publishes at once. No difference beyond noise: 10.
- Dramatiq: 8 threads 14, 16 threads 14, 32 greenlets (`dramatiq-gevent`) 19; with 4 enqueues at once instead of 16, 18.
- Celery: 16 threads 16, 8 threads 17, 50 greenlets 28, two processes 26; with 4 publishes at once instead of 16, 18.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

_SCRIPTS = Path(sys.executable).parent
_MODULES = "benchmarks.competitors"

Command = Sequence[str]


def faststream() -> list[Command]:
    def run(app: str) -> Command:
        return [_script("faststream"), "run", f"{_MODULES}.of_faststream:{app}"]

    return [run("dispatcher"), run("sender"), run("sender")]


def taskiq() -> list[Command]:
    def worker(broker: str, workers: int, *options: str) -> Command:
        command = [_script("taskiq"), "worker", f"{_MODULES}.of_taskiq:{broker}", "--workers", str(workers)]
        return [*command, "--ack-type", "when_executed", "--log-level", "WARNING", *options]

    return [worker("batches", 1), worker("numbers", 2, "--max-async-tasks", "100", "--max-prefetch", "100")]


def dramatiq() -> list[Command]:
    def worker(queue: str, processes: int, threads: int) -> Command:
        command = [_script("dramatiq"), f"{_MODULES}.of_dramatiq", "--queues", f"benchmark.dramatiq.{queue}"]
        return [*command, "--processes", str(processes), "--threads", str(threads)]

    return [worker("batches", 1, 1), worker("numbers", 2, 16)]


def celery() -> list[Command]:
    def worker(name: str, queue: str, threads: int) -> Command:
        command = [_script("celery"), "--app", f"{_MODULES}.of_celery", "worker", "--hostname", f"{name}@%h"]
        options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        pool = ["--pool", "threads", "--concurrency", str(threads)]
        return [*command, "--queues", f"benchmark.celery.{queue}", *pool, *options]

    return [worker("dispatcher", "batches", 1), worker("sender-1", "numbers", 16), worker("sender-2", "numbers", 16)]


def _script(name: str) -> str:
    return str(_SCRIPTS / name)
