"""FastStream: two subscribers on quorum queues; a batch's numbers are published many at a time, confirmed."""

import asyncio
import logging

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

from benchmarks.competitors.calling import AsyncProvider
from benchmarks.competitors.settings import AMQP_URL

PREFETCH = 100
PUBLISHED_AT_ONCE = 500

BATCHES = RabbitQueue("benchmark.faststream.batches", queue_type=QueueType.QUORUM, durable=True)
NUMBERS = RabbitQueue("benchmark.faststream.numbers", queue_type=QueueType.QUORUM, durable=True)

dispatching = RabbitBroker(AMQP_URL, default_channel=Channel(prefetch_count=1), log_level=logging.DEBUG)
sending = RabbitBroker(AMQP_URL, default_channel=Channel(prefetch_count=PREFETCH), log_level=logging.DEBUG)
dispatcher, sender = FastStream(dispatching), FastStream(sending)
provider = AsyncProvider()
sender.on_startup(provider.open)
sender.after_shutdown(provider.close)


@dispatching.subscriber(BATCHES, ack_policy=AckPolicy.NACK_ON_ERROR)
async def split(numbers: list[str]) -> None:
    await dispatching.declare_queue(NUMBERS)
    for start in range(0, len(numbers), PUBLISHED_AT_ONCE):
        chunk = enumerate(numbers[start : start + PUBLISHED_AT_ONCE], start)
        await asyncio.gather(*(dispatching.publish([f"batch:{row}", to], NUMBERS, persist=True) for row, to in chunk))


@sending.subscriber(NUMBERS, ack_policy=AckPolicy.NACK_ON_ERROR)
async def send(message: list[str]) -> None:
    reference, to = message
    await provider.post(reference, to)


async def connect() -> None:
    await dispatching.connect()
    await dispatching.declare_queue(BATCHES)


async def hand_in(numbers: list[str]) -> None:
    await dispatching.publish(numbers, BATCHES, persist=True)
