"""RabbitMQ's management API, asked for what AMQP does not tell."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import quote, unquote, urlsplit

import aiohttp
import orjson
import pika
from pydantic import TypeAdapter
from yarl import URL

from shared.amqp.nodes import split_urls
from shared.errors import SmsBatchError
from shared.settings import Settings

_TIMEOUT = aiohttp.ClientTimeout(total=8, sock_connect=3, sock_read=5)
_ANSWERED = (200, 503)  # 503 is a health check's answer when something is ill
_NOT_ALLOWED, _NOT_FOUND = (401, 403), 404
_PORT, _TLS_PORT = 15672, 15671  # the management plugin's defaults

Read = TypeVar("Read")


class NotAsked(SmsBatchError):
    """The management API could not be asked; the message is the reason, as it follows `because`."""


class NotAllowed(NotAsked):
    """The user may not ask this."""


class NotThere(NotAsked):
    """There is no such thing."""


class Unanswered(NotAsked):
    """Nobody answers, or somebody else."""


class Answer(NamedTuple):
    """An answer as it came, whatever its status."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class ManagementApi:
    """One virtual host on the first of the URLs that answers; everything raises NotAsked with the reason."""

    def __init__(self, urls: Sequence[str], login: tuple[str, str], virtual_host: str) -> None:
        self._urls, self.user, self.virtual_host = list(urls), login[0], virtual_host
        self._headers = {"Authorization": f"Basic {b64encode(':'.join(login).encode()).decode()}"}

    @property
    def where(self) -> str:
        """Where it is, for people; without the password."""
        return ", ".join(self._urls)

    @property
    def quoted_host(self) -> str:
        """The virtual host as it stands in a path."""
        return quote(self.virtual_host, safe="")

    async def ask(self, path: str, read: type[Read]) -> Read:
        """The answer to a GET, read as this type."""
        answer = await self.answer(path)
        if answer.status in _NOT_ALLOWED:
            raise NotAllowed(f"the management API does not allow it to the user {self.user}{_reason(answer)}")
        if answer.status == _NOT_FOUND:
            raise NotThere("the management API has no such thing")
        try:
            if answer.status in _ANSWERED:
                return TypeAdapter(read).validate_json(answer.content)
            raise ValueError(answer.status)
        except ValueError:  # pydantic's are such, too
            sentence = f"what answers at {self._urls[0]} ({answer.status}) is not RabbitMQ's management API"
            raise Unanswered(sentence) from None

    async def answer(self, path: str) -> Answer:
        """The answer to a GET; Unanswered where there is none."""
        # No proxy of the environment: the broker is on this machine, or in its network.
        async with aiohttp.ClientSession(headers=self._headers, timeout=_TIMEOUT, trust_env=False) as session:
            for url in self._urls:
                try:
                    place = URL(url + path, encoded=True)
                    async with session.get(place, allow_redirects=False) as response:
                        answer = Answer(response.status, response.headers, await response.read())
                except (aiohttp.ClientError, OSError, TimeoutError):
                    continue
                self._urls = [url, *(other for other in self._urls if other != url)]
                return answer
        raise Unanswered(f"the management API does not answer at {self.where}")


def management_api(settings: Settings) -> ManagementApi | None:
    """The one of SMS_MANAGEMENT_URL, with the user of SMS_AMQP_URL where it names none; None where it is empty.

    Unset it is the broker's host and the plugin's port: with TLS only where AMQP has it, so that a password that
    travels encrypted there does not go in the clear here.
    """
    nodes = [pika.URLParameters(url) for url in split_urls(settings.amqp_url.get_secret_value())]
    credentials = nodes[0].credentials
    login = (str(credentials.username), str(credentials.password))
    if settings.management_url is None:
        return ManagementApi([_beside(node) for node in nodes], login, nodes[0].virtual_host)
    if not (url := settings.management_url.get_secret_value()):
        return None
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    own_login = (unquote(parts.username or ""), unquote(parts.password or ""))
    return ManagementApi([place], own_login if parts.username else login, nodes[0].virtual_host)


def _beside(node: pika.URLParameters) -> str:
    host = f"[{node.host}]" if ":" in node.host else node.host
    return f"http://{host}:{_PORT}" if node.ssl_options is None else f"https://{host}:{_TLS_PORT}"


def _reason(answer: Answer) -> str:
    try:
        return f" ({orjson.loads(answer.content)['reason']})"
    except (ValueError, KeyError, TypeError):
        return ""
