"""The doctor's settings."""

from urllib.parse import unquote, urlsplit

import pika
from pydantic import SecretStr, field_validator

from shared.amqp.nodes import split_urls
from shared.settings import WorkerSettings, check_url
from tools.ctl.doctoring.management import Management

_MANAGEMENT_PORT = 15672


class DoctorSettings(WorkerSettings):
    """What a doctor needs beside the services' settings: where RabbitMQ's management API is."""

    management_url: SecretStr | None = None
    """http or https, with user and password where they are others than in SMS_AMQP_URL. Unset, it is the broker's host
    and port 15672; empty, there is none."""

    @field_validator("management_url")
    @classmethod
    def _is_http(cls, url: SecretStr | None) -> SecretStr | None:
        return check_url(url, ("http://", "https://")) if url and url.get_secret_value() else url

    @property
    def amqp_user(self) -> str:
        """Who the services are on the broker."""
        return str(self._nodes[0].credentials.username)

    def management(self) -> Management | None:
        """The management API; None where there is none."""
        nodes = self._nodes
        login = (nodes[0].credentials.username, nodes[0].credentials.password)
        if self.management_url is None:
            urls = [f"http://{_host(node.host)}:{_MANAGEMENT_PORT}" for node in nodes]
            return Management(urls, login, nodes[0].virtual_host)
        url = self.management_url.get_secret_value()
        if not url:
            return None
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        own_login = (unquote(parts.username or ""), unquote(parts.password or ""))
        return Management([place], own_login if parts.username else login, nodes[0].virtual_host)

    @property
    def _nodes(self) -> list[pika.URLParameters]:
        return [pika.URLParameters(url) for url in split_urls(self.amqp_url.get_secret_value())]


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
