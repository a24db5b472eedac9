"""FastStream: two subscribers on quorum queues; a batch's numbers are published many at a time, confirmed."""

import asyncio

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from pydantic import BaseModel

from benchmarks.competitors.calling import AsyncProvider
from benchmarks.competitors.settings import AMQP_URL

PREFETCH = 100
PUBLISHED_AT_ONCE = 500

BATCHES = RabbitQueue("benchmark.faststream.batches", queue_type=QueueType.QUORUM, durable=True)
NUMBERS = RabbitQueue("benchmark.faststream.numbers", queue_type=QueueType.QUORUM, durable=True)


class Batch(BaseModel):
    numbers: list[str]
    text: str


class Message(BaseModel):
    reference: str
    to: str
    text: str


# Its logger would write two lines for every message.
dispatching = RabbitBroker(AMQP_URL, default_channel=Channel(prefetch_count=1), logger=None)
sending = RabbitBroker(AMQP_URL, default_channel=Channel(prefetch_count=PREFETCH), logger=None)
dispatcher, sender = FastStream(dispatching), FastStream(sending)
provider = AsyncProvider()
sender.on_startup(provider.open)
sender.after_shutdown(provider.close)


@dispatching.subscriber(BATCHES, ack_policy=AckPolicy.NACK_ON_ERROR)
async def split(batch: Batch) -> None:
    await dispatching.declare_queue(NUMBERS)
    for start in range(0, len(batch.numbers), PUBLISHED_AT_ONCE):
        chunk = enumerate(batch.numbers[start : start + PUBLISHED_AT_ONCE], start)
        messages = (Message(reference=f"batch:{row}", to=to, text=batch.text) for row, to in chunk)
        await asyncio.gather(*(dispatching.publish(message, NUMBERS, persist=True) for message in messages))


@sending.subscriber(NUMBERS, ack_policy=AckPolicy.NACK_ON_ERROR)
async def send(message: Message) -> None:
    await provider.post(message.reference, message.to, message.text)


async def connect() -> None:
    await dispatching.connect()
    await dispatching.declare_queue(BATCHES)


async def hand_in(numbers: list[str], text: str) -> None:
    await dispatching.publish(Batch(numbers=numbers, text=text), BATCHES, persist=True)
