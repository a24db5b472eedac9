"""RabbitMQ's management API as the doctor asks it, in a thread of each check's own."""

import asyncio
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from shared.management import ManagementApi
from tools.ctl.doctoring.findings import NotChecked

Read = TypeVar("Read")


class BindingThere(BaseModel):
    """A binding as it is; an empty source is the default exchange."""

    source: str
    destination: str
    destination_type: str
    routing_key: str
    arguments: dict[str, Any] = {}


class Myself(BaseModel):
    """Who is asking."""

    name: str


class QueueThere(BaseModel):
    """A queue as it is; the counts lag by some seconds, and are missing in a queue's first ones.

    `messages` counts everything: ready, unacknowledged, and on the way to the dead-letter exchange.
    """

    name: str
    type: str = "classic"
    arguments: dict[str, Any] = {}
    effective_policy_definition: dict[str, Any] | list[Any] | None = None
    messages: int | None = None

    @property
    def dead_letters(self) -> bool:
        """Whether the broker moves messages of it to a dead-letter exchange by itself."""
        policy = self.effective_policy_definition or {}
        return "x-dead-letter-exchange" in self.arguments or "dead-letter-exchange" in policy


class Dated(Protocol):
    """An HTTP answer."""

    @property
    def headers(self) -> Mapping[str, str]: ...


class Management:
    """What checks ask of it; everything raises NotAsked with the reason."""

    def __init__(self, api: ManagementApi) -> None:
        self.api, self.user = api, api.user

    def ask(self, path: str, read: type[Read]) -> Read:
        """The answer to a GET, read as this type."""
        return asyncio.run(self.api.ask(path, read))

    def date_s(self) -> float:
        """When it is by the broker's clock, in seconds since the epoch."""
        return http_date_s(asyncio.run(self.api.answer("/api/whoami")))

    def bindings(self, queue: str | None = None) -> list[BindingThere]:
        """The bindings of queues in the virtual host, or of one queue; without those to the default exchange."""
        path = f"{self._queue(queue)}/bindings" if queue else f"/api/bindings/{self.api.quoted_host}"
        return [
            binding
            for binding in self.ask(path, list[BindingThere])
            if binding.source and binding.destination_type == "queue"
        ]

    def queue(self, name: str) -> QueueThere:
        """A queue; NotThere where there is none."""
        return self.ask(self._queue(name), QueueThere)

    def _queue(self, name: str) -> str:
        return f"/api/queues/{self.api.quoted_host}/{quote(name, safe='')}"


def http_date_s(answer: Dated) -> float:
    """An answer's Date header; NotChecked where it has none."""
    try:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        raise NotChecked("its answer has no Date header") from None
