"""RabbitMQ's management API, asked for what AMQP does not tell."""

from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote

import requests
from pydantic import BaseModel, TypeAdapter

from tools.ctl.doctoring.findings import NotChecked

_TIMEOUT_S = (3, 5)
_ANSWERED = (200, 503)  # 503 is a health check's answer when something is ill
_NOT_ALLOWED, _NOT_FOUND = (401, 403), 404

Answer = TypeVar("Answer")


class NotAllowed(NotChecked):
    """The user may not ask this."""


class NotThere(NotChecked):
    """There is no such thing."""


class Unanswered(NotChecked):
    """Nobody answers, or somebody else."""


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


class Management:
    """One virtual host on the first of the URLs that answers; everything raises NotChecked with the reason."""

    def __init__(self, urls: Sequence[str], login: tuple[str, str], virtual_host: str) -> None:
        self._urls, self.user, self.virtual_host = list(urls), login[0], virtual_host
        self._session = requests.Session()
        self._session.auth = login
        self._session.trust_env = False  # the broker is on this machine, or in its network

    @property
    def where(self) -> str:
        """Where it is, for people; without the password."""
        return ", ".join(self._urls)

    def ask(self, path: str, answer: type[Answer]) -> Answer:
        """The answer to a GET, read as this type."""
        return self._read(self._response(path), answer)

    def date_s(self) -> float:
        """When it is by the broker's clock, in seconds since the epoch."""
        return http_date_s(self._response("/api/whoami"))

    def bindings(self, queue: str | None = None) -> list[BindingThere]:
        """The bindings of queues in the virtual host, or of one queue; without those to the default exchange."""
        path = (
            f"/api/queues/{self._vhost}/{quote(queue, safe='')}/bindings" if queue else f"/api/bindings/{self._vhost}"
        )
        return [
            binding
            for binding in self.ask(path, list[BindingThere])
            if binding.source and binding.destination_type == "queue"
        ]

    def queue(self, name: str) -> QueueThere:
        """A queue; NotThere where there is none."""
        return self.ask(f"/api/queues/{self._vhost}/{quote(name, safe='')}", QueueThere)

    @property
    def _vhost(self) -> str:
        return quote(self.virtual_host, safe="")

    def _response(self, path: str) -> requests.Response:
        for url in self._urls:
            try:
                response = self._session.get(url + path, timeout=_TIMEOUT_S, allow_redirects=False)
            except requests.RequestException:
                continue
            self._urls = [url]  # the others are not asked again
            return response
        raise Unanswered(f"the management API does not answer at {self.where}")

    def _read(self, response: requests.Response, answer: type[Answer]) -> Answer:
        if response.status_code in _NOT_ALLOWED:
            raise NotAllowed(f"the management API does not allow it to the user {self.user}{_reason(response)}")
        if response.status_code == _NOT_FOUND:
            raise NotThere("the management API has no such thing")
        try:
            if response.status_code in _ANSWERED:
                return TypeAdapter(answer).validate_json(response.content)
            raise ValueError(response.status_code)
        except ValueError:  # pydantic's are such, too
            sentence = f"what answers at {self.where} ({response.status_code}) is not RabbitMQ's management API"
            raise Unanswered(sentence) from None


def http_date_s(response: requests.Response) -> float:
    """An answer's Date header; NotChecked where it has none."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        raise NotChecked("its answer has no Date header") from None


def _reason(response: requests.Response) -> str:
    try:
        return f" ({response.json()['reason']})"
    except (ValueError, KeyError, TypeError):
        return ""
