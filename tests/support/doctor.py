"""A system that smsctl doctor finds nothing wrong with, for tests to harm one thing of it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pika

from shared.topology import BATCHES, INBOUND_QUEUE, RECEIPTS, Lane, Topology, build_topology, outbound_queue
from tests.support.brokers import Vhost
from tests.support.forking.process import outside_environment, run
from tests.support.standing_in import StandIn

TIERS_S = (1, 60)
WORK = (BATCHES, RECEIPTS, INBOUND_QUEUE, *(outbound_queue(lane) for lane in Lane))
_TIMEOUT_S = 120


@dataclass
class Patient:
    """The system under examination. Its settings may be changed."""

    vhost: Vhost
    api: StandIn
    settings: dict[str, str]

    @property
    def topology(self) -> Topology:
        """What it should have."""
        return build_topology(TIERS_S)

    def doctor(self, *options: str, **more: str) -> tuple[int, dict[str, Any]]:
        """Exit status and what was said."""
        ended = self.smsctl("doctor", "--json", *options, **more)
        assert ended.stderr == ""
        return ended.returncode, json.loads(ended.stdout)

    def smsctl(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One command, as its own process; `more` are further settings."""
        environment = outside_environment(**{**self.settings, **more})
        return run("tools.ctl", *arguments, environment=environment, timeout_s=_TIMEOUT_S)

    def wrong(self, *options: str, **more: str) -> list[str]:
        """The findings; the exit status fits them."""
        status, said = self.doctor(*options, **more)
        assert status == bool(said["findings"])
        return [finding["what"] for finding in said["findings"]]

    def declare(self, queue: str, arguments: dict[str, Any]) -> None:
        """In the place of the queue that is there, one with other arguments, bound as it should be."""
        broker, name = self.vhost.broker, self.vhost.name
        broker.api("DELETE", f"queues/{name}/{queue}")
        broker.api("PUT", f"queues/{name}/{queue}", json={"durable": True, "arguments": arguments})
        with pika.BlockingConnection(pika.URLParameters(self.vhost.amqp_url)) as connection:
            channel = connection.channel()
            for binding in self.topology.bindings:
                if binding.queue == queue:
                    channel.queue_bind(queue, binding.exchange, binding.key)

    def unbind(self, exchange: str, queue: str, key: str) -> None:
        """Remove a binding."""
        self.vhost.broker.api("DELETE", f"bindings/{self.vhost.name}/e/{exchange}/q/{queue}/{key}")


@contextmanager
def working(vhost: Vhost) -> Iterator[pika.BlockingConnection]:
    """Somebody who consumes each work queue, as dispatcher and senders do."""
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        channel = connection.channel()
        for queue in WORK:
            channel.basic_consume(queue, lambda *_: None)
        yield connection
