"""The doctor's settings."""

import pika

from shared.amqp.nodes import split_urls
from shared.settings import WorkerSettings


class DoctorSettings(WorkerSettings):
    """The services' settings, and who they are on the broker."""

    @property
    def amqp_user(self) -> str:
        """Who the services are on the broker."""
        return str(pika.URLParameters(split_urls(self.amqp_url.get_secret_value())[0]).credentials.username)
