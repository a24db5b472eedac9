"""The three services and the simulator, wired together as processes, with the questions that tests ask them."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pika
import requests

from shared.topology import build_topology
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually

TIERS_S = "0.2,0.5,1,2"
FINAL = {
    "sent",
    "delivered",
    "undelivered",
    "failed",
    "unknown",
    "expired",
    "invalid",
    "duplicate",
    "suppressed",
    "cancelled",
}


def settings_for(vhost: Vhost, database_url: str, simulator: ServiceProcess) -> dict[str, str]:
    """What the services need to work on these parts, with short tiers and time limits."""
    return {
        "SMS_AMQP_URL": vhost.amqp_url,
        "SMS_DATABASE_URL": database_url,
        "SMS_PROVIDER_URL": f"{simulator.url}/messages",
        # Long enough for a machine that is busy with other tests; the lease is as long as with less and the default.
        "SMS_PROVIDER_TIMEOUT_S": "6",
        "SMS_LEASE_MARGIN_S": "4",
        "SMS_RETRY_TIERS_S": TIERS_S,
        "SMS_MAX_ATTEMPTS": "4",
        "SMS_LOG_LEVEL": "DEBUG",
    }


@dataclass
class Trio:
    """One api, one dispatcher, some senders, one simulator."""

    vhost: Vhost
    simulator: ServiceProcess
    settings: dict[str, str]
    start: Callable[..., ServiceProcess]
    api: ServiceProcess = field(init=False)
    dispatcher: ServiceProcess = field(init=False)
    senders: list[ServiceProcess] = field(default_factory=list)
    posted: dict[str, int] = field(default_factory=dict)
    """How many recipients each batch was given with its 202."""

    def up(self, senders: int = 2) -> "Trio":
        """Start everything."""
        self.api = self.start("services.api", wait=False, **self.settings)
        self.dispatcher = self.start("services.dispatcher", wait=False, **self.settings)
        self.senders = [self.start("services.sender", wait=False, **self.settings) for _ in range(senders)]
        for service in (self.api, self.dispatcher, *self.senders):
            service.await_ready()
        return self

    def post(self, recipients: Sequence[Any], **fields: Any) -> str:
        """Post a batch; its id."""
        body = {"recipients": recipients, "content": "Hello 你好", **fields}
        answer = requests.post(f"{self.api.url}/v1/batches", json=body, timeout=60)
        assert answer.status_code == 202, answer.text
        batch_id = str(answer.json()["batch_id"])
        self.posted[batch_id] = len(recipients)
        return batch_id

    def batch(self, batch_id: str) -> dict[str, Any]:
        """The batch as the api tells it."""
        answer = requests.get(f"{self.api.url}/v1/batches/{batch_id}", timeout=30)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert isinstance(found, dict)
        return found

    def held(self) -> list[dict[str, Any]]:
        """The providers that nobody calls for now, as the api tells it."""
        answer = requests.get(f"{self.api.url}/v1/provider", timeout=30)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["held"])

    def control(self, batch_id: str, command: str) -> dict[str, Any]:
        """Pause, resume or cancel a batch; the batch after it."""
        answer = requests.post(f"{self.api.url}/v1/batches/{batch_id}/{command}", timeout=60)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert isinstance(found, dict)
        return found

    def finished(self, batch_id: str, timeout_s: float = 60) -> dict[str, int]:
        """The counts when the batch is finished, or cancelled and nothing of it under way any more; they add up to the
        recipients and are all final."""

        def look() -> dict[str, Any] | None:
            batch = self.batch(batch_id)
            live = {name for name, number in batch["counts"].items() if number} - FINAL
            return batch if batch["status"] in ("finished", "cancelled") and not live else None

        try:
            batch = eventually(look, timeout_s, 0.2)
        except AssertionError:
            raise AssertionError(f"not finished: {self.batch(batch_id)}") from None
        counts = batch["counts"]
        assert sum(counts.values()) == batch["recipients"]
        assert set(name for name, number in counts.items() if number) <= FINAL
        return {name: number for name, number in counts.items() if number}

    def messages(self, batch_id: str, **query: Any) -> list[dict[str, Any]]:
        """A batch's numbers, all pages."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            parameters = {"limit": 1000, **query, **({"cursor": cursor} if cursor else {})}
            page = requests.get(f"{self.api.url}/v1/batches/{batch_id}/messages", params=parameters, timeout=30).json()
            found += page["messages"]
            cursor = page.get("next_cursor")
            if not cursor:
                return found

    def provider_calls(self, batch_id: str) -> dict[str, int]:
        """How often the provider saw each reference of the batch."""
        return dict(sum((self._told(each, "counts", batch_id) for each in self.providers.values()), Counter()))

    def provider_accepted(self, batch_id: str) -> dict[str, int]:
        """How often the provider took each reference of the batch, whatever it answered."""
        return dict(sum((self._told(each, "accepted", batch_id) for each in self.providers.values()), Counter()))

    @staticmethod
    def _told(simulator: ServiceProcess, what: str, batch_id: str) -> Counter[str]:
        answer = requests.get(f"{simulator.url}/calls/{what}", params={"batch": batch_id}, timeout=30)
        return Counter(answer.json()["counts"])

    def depths(self) -> dict[str, int]:
        """The messages that wait in each queue."""
        with pika.BlockingConnection(pika.URLParameters(self.vhost.amqp_url)) as connection:
            channel = connection.channel()
            queues = [queue.name for queue in build_topology(self._tiers_s, list(self.providers)).queues]
            return {queue: channel.queue_declare(queue, passive=True).method.message_count for queue in queues}

    def letters(self, queue: str) -> set[str]:
        """The message ids in a queue; the messages stay there."""
        found = set()
        with pika.BlockingConnection(pika.URLParameters(self.vhost.amqp_url)) as connection:
            channel = connection.channel()
            while True:
                method, properties, _body = channel.basic_get(queue)
                if method is None:
                    return found  # closing the connection puts all of them back
                found.add(str(properties.message_id))

    @property
    def providers(self) -> Mapping[str, ServiceProcess]:
        """Who is called, by the providers' names."""
        return {"default": self.simulator}

    @property
    def _tiers_s(self) -> list[float]:
        return [float(tier_s) for tier_s in self.settings["SMS_RETRY_TIERS_S"].split(",")]

    def provider_texts(self, batch_id: str) -> list[dict[str, Any]]:
        """What the provider was sent for the batch."""
        answer = requests.get(f"{self.simulator.url}/calls", params={"batch": batch_id, "limit": 10_000}, timeout=30)
        calls = answer.json()["calls"]
        assert isinstance(calls, list)
        return calls

    def misbehave(self, mode: str, **fields: Any) -> None:
        """Tell the provider how to answer from now on."""
        answer = requests.put(f"{self.simulator.url}/behaviour", json={"mode": mode, **fields}, timeout=30)
        assert answer.status_code == 200, answer.text

    def publish(self, exchange: str, key: str, body: bytes, *, copies: int = 1, **properties: Any) -> None:
        """Publish as somebody else would."""
        with pika.BlockingConnection(pika.URLParameters(self.vhost.amqp_url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for _ in range(copies):
                channel.basic_publish(exchange, key, body, pika.BasicProperties(**properties), mandatory=True)

    def take(self, queue: str) -> list[tuple[pika.BasicProperties, dict[str, Any]]]:
        """Take everything out of a queue: properties and JSON bodies."""
        taken = []
        with pika.BlockingConnection(pika.URLParameters(self.vhost.amqp_url)) as connection:
            channel = connection.channel()
            while True:
                method, properties, body = channel.basic_get(queue, auto_ack=True)
                if method is None:
                    return taken
                taken.append((properties, json.loads(body)))

    def logs(self) -> str:
        """All that the services have logged."""
        return "".join(service.log for service in (self.api, self.dispatcher, *self.senders))
