"""Dead letters sent again by the management UI's own "Move messages" button: a shovel that ends by itself."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from shared.topology import DEAD_LETTER, UNKNOWN_QUEUE
from tests.conftest import Start
from tests.integration.test_trio import numbers
from tests.support.brokers import Vhost
from tests.support.own_broker import KINDS, ContainerBroker, default_vhost, own_broker
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for

LETTERS = 30
PEEKS = 25
"""More than the returns after which a sender holds a message for one that crashes it."""


@pytest.fixture(scope="module", params=KINDS)
def vhost(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vhost]:
    """The virtual host / of a broker with shovels: the UI's button knows no other node's."""
    with own_broker(request.param, tmp_path_factory.mktemp("broker")) as broker:
        if isinstance(broker, ContainerBroker):
            broker.enable("rabbitmq_shovel", "rabbitmq_shovel_management")
        yield default_vhost(broker)


@pytest.fixture
def trio(vhost: Vhost, sqlite_url: str, simulator: ServiceProcess, start: Start) -> Iterator[Trio]:
    trio = Trio(vhost, simulator, settings_for(vhost, sqlite_url, simulator), start).up()
    yield trio
    for queue in (DEAD_LETTER, UNKNOWN_QUEUE):
        vhost.broker.api("DELETE", f"queues/{vhost.name}/{queue}/contents")


def move(vhost: Vhost, source: str, destination: str) -> None:
    """Press the button on the page of the queue `source`, and wait until the shovel that does it has gone."""
    name = f"Move from {source}"
    # What priv/www/js/tmpl/queue.ejs and shovel.js of the plugins put together, the same in 3.10 and 4.3.
    value = {
        "src-uri": f"amqp:///{vhost.name}",
        "src-queue": source,
        "src-protocol": "amqp091",
        "src-prefetch-count": 1000,
        "src-delete-after": "queue-length",
        "src-consumer-args": {},
        "dest-protocol": "amqp091",
        "dest-uri": f"amqp:///{vhost.name}",
        "dest-queue": destination,
        "dest-add-forward-headers": False,
        "ack-mode": "on-confirm",
    }
    path = f"parameters/shovel/{vhost.name}/{quote(name)}"
    vhost.broker.api("PUT", path, json={"component": "shovel", "vhost": "/", "name": name, "value": value})
    eventually(lambda: not vhost.broker.api("GET", "parameters/shovel"))


def peek(vhost: Vhost, queue: str) -> list[dict[str, Any]]:
    """Look at the letters as the UI does in the mode that counts as a redelivery on every version."""
    body = {"count": 2 * LETTERS, "ackmode": "reject_requeue_true", "encoding": "auto"}
    found = vhost.broker.api("POST", f"queues/{vhost.name}/{queue}/get", json=body)
    assert isinstance(found, list)
    return found


def refused(trio: Trio, recipients: list[str], **fields: Any) -> str:
    """A batch whose numbers are all dead letters by now; the provider is well again."""
    trio.misbehave("refuse")
    batch_id = trio.post(recipients, **fields)
    assert trio.finished(batch_id) == {"failed": len(recipients)}
    eventually(lambda: len(trio.letters(DEAD_LETTER)) == len(recipients))
    trio.misbehave("accept")
    return batch_id


@pytest.mark.parametrize("lane", ["bulk", "priority"])
def test_moved_dead_letters_are_all_sent_once_each(trio: Trio, lane: str) -> None:
    batch_id = refused(trio, numbers(LETTERS), lane=lane)
    move(trio.vhost, DEAD_LETTER, "sms.outbound.bulk")
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent") == LETTERS)
    assert trio.finished(batch_id) == {"sent": LETTERS}
    assert trio.provider_accepted(batch_id) == {f"{batch_id}:{row}": 1 for row in range(LETTERS)}
    assert trio.depths() == dict.fromkeys(trio.depths(), 0)


def test_dead_letters_that_many_people_have_looked_at_are_sent_all_the_same(trio: Trio) -> None:
    batch_id = refused(trio, numbers(LETTERS))
    for _ in range(PEEKS):
        eventually(lambda: len(peek(trio.vhost, DEAD_LETTER)) == LETTERS)
    eventually(lambda: trio.depths()[DEAD_LETTER] == LETTERS)
    move(trio.vhost, DEAD_LETTER, "sms.outbound.bulk")
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent") == LETTERS)
    assert trio.provider_accepted(batch_id) == {f"{batch_id}:{row}": 1 for row in range(LETTERS)}
    assert trio.depths() == dict.fromkeys(trio.depths(), 0)


def test_moved_letters_that_fail_again_are_letters_again_with_an_attempt_more(trio: Trio) -> None:
    batch_id = refused(trio, numbers(3))
    trio.misbehave("refuse")
    move(trio.vhost, DEAD_LETTER, "sms.outbound.bulk")
    letters = eventually(lambda: (found := trio.vhost.messages(DEAD_LETTER)) and len(found) == 3 and found)
    assert [letter["properties"]["headers"]["x-attempts"] for letter in letters] == [2, 2, 2]
    assert trio.finished(batch_id) == {"failed": 3}
    assert set(trio.provider_calls(batch_id).values()) == {2}


def test_moved_unclear_letters_are_held_again_and_nobody_is_called(trio: Trio) -> None:
    batch_id = trio.post(["+8613800139009"])
    assert trio.finished(batch_id) == {"unknown": 1}
    eventually(lambda: trio.vhost.messages(UNKNOWN_QUEUE))
    move(trio.vhost, UNKNOWN_QUEUE, "sms.outbound.bulk")
    (letter,) = eventually(lambda: trio.vhost.messages(UNKNOWN_QUEUE))
    assert letter["properties"]["message_id"] == f"{batch_id}:0"
    assert trio.provider_calls(batch_id) == {f"{batch_id}:0": 1}


def test_a_batch_moved_back_is_split_anew(trio: Trio, vhost: Vhost) -> None:
    body = {"recipients": ["+8613800138000"], "template_id": 404}
    answer = requests.post(f"{trio.api.url}/v1/batches", json=body, timeout=30)
    batch_id = answer.json()["batch_id"]
    assert trio.finished(batch_id) == {"failed": 1}
    eventually(lambda: trio.vhost.messages("sms.dead-letter.batches"))
    move(vhost, "sms.dead-letter.batches", "sms.batches")
    (letter,) = eventually(lambda: trio.vhost.messages("sms.dead-letter.batches"))
    assert letter["properties"]["headers"]["x-error-code"] == "template_unknown"
    trio.take("sms.dead-letter.batches")
