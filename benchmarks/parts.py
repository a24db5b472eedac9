"""What a measurement runs on: broker, database, stub provider and the services, all of its own and on this machine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pika

from benchmarks.provider import Provider
from benchmarks.servers import Server, running_broker, running_database
from tests.support.processes import ServiceProcess

PROVIDER_TIMEOUT_S = 60


@dataclass
class Parts:
    """The running servers and where they are; what is started with `start` ends with them."""

    broker: Server
    database: Server
    provider: Provider
    folder: Path
    stack: ExitStack

    def start(self, module: str, **settings: str) -> ServiceProcess:
        """Start a service of ours, and return when it is ready."""
        process = ServiceProcess(module, {**self._settings, **settings}, self.folder)
        self.stack.callback(process.end)
        return process.start()

    def purge(self, queue: str) -> None:
        """Empty a queue of what one measurement left, so that it doesn't run beside the next."""
        with self.amqp() as connection:
            connection.channel().queue_purge(queue)

    def amqp(self) -> pika.BlockingConnection:
        """A connection to the broker, for a look at a queue."""
        return pika.BlockingConnection(pika.URLParameters(self.broker.url))

    @property
    def _settings(self) -> dict[str, str]:
        return {
            "SMS_AMQP_URL": self.broker.url,
            "SMS_DATABASE_URL": self.database.url,
            "SMS_PROVIDER_URL": self.provider.url("messages"),
            "SMS_PROVIDER_TIMEOUT_S": str(PROVIDER_TIMEOUT_S),
        }


@contextmanager
def running_parts(folder: Path) -> Iterator[Parts]:
    """RabbitMQ 4 and PostgreSQL in containers where there is Docker; else the system's RabbitMQ, and SQLite."""
    with ExitStack() as stack:
        provider = Provider(folder / "provider").start()
        stack.callback(provider.stop)
        broker = stack.enter_context(running_broker(folder))
        database = stack.enter_context(running_database(folder))
        yield Parts(broker, database, provider, folder, stack)
