"""Dramatiq: actors on quorum queues; every enqueue waits for its confirm, so several threads enqueue at once."""

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.competitors.calling import Provider
from benchmarks.competitors.settings import AMQP_URL

THREADS = 16
ENQUEUE_AT_ONCE = 16


class QuorumBroker(RabbitmqBroker):
    """Dramatiq itself declares classic queues."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


broker = QuorumBroker(url=AMQP_URL, confirm_delivery=True)
dramatiq.set_broker(broker)
provider = Provider(THREADS)
# Each of its threads keeps a connection of its own, as Dramatiq does it.
enqueueing = ThreadPoolExecutor(ENQUEUE_AT_ONCE)


@dramatiq.actor(queue_name="benchmark.dramatiq.batches")
def split(numbers: list[str], text: str) -> None:
    rows = (f"batch:{row}" for row in range(len(numbers)))
    list(enqueueing.map(send.send, rows, numbers, repeat(text)))


@dramatiq.actor(queue_name="benchmark.dramatiq.numbers")
def send(reference: str, to: str, text: str) -> None:
    provider.post(reference, to, text)


async def connect() -> None:
    broker.declare_queue(split.queue_name, ensure=True)


async def hand_in(numbers: list[str], text: str) -> None:
    split.send(numbers, text)
