"""Celery: quorum queues, confirms, late acks, no results; several publish at once, since each waits for its confirm."""

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from celery import Celery
from kombu import Queue

from benchmarks.competitors.calling import Provider
from benchmarks.competitors.settings import AMQP_URL

THREADS = 16
PUBLISH_AT_ONCE = 16
_QUORUM = {"x-queue-type": "quorum"}

app = Celery("benchmark", broker=AMQP_URL)
app.conf.update(
    task_queues=[
        Queue("benchmark.celery.batches", routing_key="batches", queue_arguments=_QUORUM),
        Queue("benchmark.celery.numbers", routing_key="numbers", queue_arguments=_QUORUM),
    ],
    task_default_exchange="benchmark.celery",
    task_default_queue="benchmark.celery.batches",
    broker_transport_options={"confirm_publish": True},
    broker_pool_limit=PUBLISH_AT_ONCE,
    task_acks_late=True,
    task_ignore_result=True,
    task_send_sent_event=False,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=4,
)
provider = Provider(THREADS)
publishing = ThreadPoolExecutor(PUBLISH_AT_ONCE)


@app.task(queue="benchmark.celery.batches")
def split(numbers: list[str], text: str) -> None:
    rows = (f"batch:{row}" for row in range(len(numbers)))
    list(publishing.map(send.delay, rows, numbers, repeat(text)))


@app.task(queue="benchmark.celery.numbers", autoretry_for=(OSError,))
def send(reference: str, to: str, text: str) -> None:
    provider.post(reference, to, text)


async def connect() -> None:
    app.connection_for_write().ensure_connection()


async def hand_in(numbers: list[str], text: str) -> None:
    split.delay(numbers, text)
