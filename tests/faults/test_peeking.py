"""Dead letters that people look at, again and again: none goes away by it."""

from collections.abc import Callable

import pika
import pytest

from shared.topology import DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, UNKNOWN_QUEUE
from tests.conftest import Start
from tests.faults.conftest import FaultRun
from tests.faults.test_kills import plain_numbers
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

TIMES = 50
LETTERS = 6
QUEUES = (DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, UNKNOWN_QUEUE)

Peek = Callable[[Vhost, str], int]
"""Looks at all letters of a queue and puts them back; how many there were."""


def by_management(ackmode: str) -> Peek:
    """As the management UI's "Get messages" does."""

    def peek(vhost: Vhost, queue: str) -> int:
        body = {"count": 100, "ackmode": ackmode, "encoding": "auto", "truncate": 50_000}
        return len(vhost.broker.api("POST", f"queues/{vhost.name}/{queue}/get", json=body))

    return peek


def by_client(put_back: Callable[[pika.channel.Channel, int], None]) -> Peek:
    """As a program does that gets messages one by one."""

    def peek(vhost: Vhost, queue: str) -> int:
        with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
            channel, tags = connection.channel(), []
            while (method := channel.basic_get(queue)[0]) is not None:
                tags.append(method.delivery_tag)
            for tag in tags:
                put_back(channel, tag)
            return len(tags)

    return peek


@pytest.mark.parametrize(
    "peek",
    [
        pytest.param(by_management("ack_requeue_true"), id="nack_in_the_ui"),
        pytest.param(by_management("reject_requeue_true"), id="reject_in_the_ui", marks=pytest.mark.quick),
        pytest.param(by_client(lambda channel, tag: channel.basic_reject(tag, requeue=True)), id="reject_by_a_client"),
        pytest.param(by_client(lambda _channel, _tag: None), id="a_client_that_goes_away"),
    ],
)
@pytest.mark.scenario(31, "every dead letter peeked at 50 times")
def test_a_letter_that_was_peeked_at_fifty_times_is_still_there(
    each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start, fault: FaultRun, peek: Peek
) -> None:
    own = {"SMS_PROVIDER_TIMEOUT_S": "10", "SMS_AMQP_URL": each_vhost.amqp_url}
    trio = Trio(each_vhost, simulator, {**settings, **own}, start).up(senders=1)
    refused = [f"+86139{row:04d}9005" for row in range(LETTERS)]
    unclear = [f"+86139{row:04d}9009" for row in range(LETTERS)]
    batch_id = trio.post([*plain_numbers(10), *refused, *unclear])
    for number in range(LETTERS):
        trio.publish("sms.batches", "sms.batches", b"{}", type="sms.batch.v1", message_id=f"odd-{number}")
    fault.conserved(trio, [batch_id])
    written = {queue: eventually(lambda queue=queue: all_letters(trio, queue)) for queue in QUEUES}
    for queue in QUEUES:
        for _ in range(TIMES):
            eventually(lambda queue=queue: peek(each_vhost, queue) == LETTERS)
    assert {queue: eventually(lambda queue=queue: all_letters(trio, queue)) for queue in QUEUES} == written


def all_letters(trio: Trio, queue: str) -> set[str] | None:
    """The letters' message ids, once there are as many as there should be."""
    found = trio.letters(queue)
    return found if len(found) == LETTERS else None
