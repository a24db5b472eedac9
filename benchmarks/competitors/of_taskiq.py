"""TaskIQ: one broker for batches and one for numbers, on quorum queues; tasks are kicked many at a time, confirmed."""

import asyncio

from taskiq import TaskiqEvents, TaskiqState
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue, QueueType

from benchmarks.competitors.calling import AsyncProvider
from benchmarks.competitors.settings import AMQP_URL

PREFETCH = 100
PUBLISHED_AT_ONCE = 500


def _broker(name: str, prefetch: int) -> AioPikaBroker:
    return AioPikaBroker(
        AMQP_URL,
        qos=prefetch,
        exchange=Exchange(name=name),
        task_queues=[Queue(name=name, type=QueueType.QUORUM)],
        dead_letter_queue=Queue(name=f"{name}.dead-letter", type=QueueType.QUORUM),
    )


batches, numbers = _broker("benchmark.taskiq.batches", 1), _broker("benchmark.taskiq.numbers", PREFETCH)
provider = AsyncProvider()


@batches.on_event(TaskiqEvents.WORKER_STARTUP)
async def connect_to_numbers(_state: TaskiqState) -> None:
    await numbers.startup()


@numbers.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_provider(_state: TaskiqState) -> None:
    await provider.open()


@numbers.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_provider(_state: TaskiqState) -> None:
    await provider.close()


@batches.task
async def split(to_all: list[str], text: str) -> None:
    for start in range(0, len(to_all), PUBLISHED_AT_ONCE):
        chunk = enumerate(to_all[start : start + PUBLISHED_AT_ONCE], start)
        await asyncio.gather(*(send.kiq(f"batch:{row}", to, text) for row, to in chunk))


@numbers.task
async def send(reference: str, to: str, text: str) -> None:
    await provider.post(reference, to, text)


async def connect() -> None:
    await batches.startup()


async def hand_in(to_all: list[str], text: str) -> None:
    await split.kiq(to_all, text)
