"""A system as the version before left it: its ledger, its queues and what was under way in them.

`version_before.json` is of 2026-11-28, revision 0005: services of that version were stopped in the middle of these
batches, first the sender, then the dispatcher, then the api. The numbers are invented. The rows of a table are kept as
lists in the order of its columns.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pika
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from shared.ledger import migrations
from shared.ledger.database import Database
from tests.support.brokers import Vhost

TIERS_S = "1,2,4,8"


class VersionBefore:
    """What is kept of it; `batches` are the ids by what the batch is an example of."""

    def __init__(self, file: Path) -> None:
        self._kept: dict[str, Any] = json.loads(file.read_text())
        self.batches: dict[str, str] = self._kept["batches"]

    def restore(self, vhost: Vhost, empty_database_url: str) -> None:
        """Put ledger and queues where they are to be found by services that start."""
        asyncio.run(self._restore_ledger(empty_database_url))
        self._restore_queues(vhost)

    async def _restore_ledger(self, url: str) -> None:
        database = Database(url)
        async with database.writing() as connection:
            await connection.run_sync(self._make_tables)
            for table, kept in self._kept["tables"].items():
                columns = kept["columns"]
                values = ", ".join(f":{column}" for column in columns)
                insert = text(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})")
                await connection.execute(insert, [dict(zip(columns, row, strict=True)) for row in kept["rows"]])
        await database.close()

    def _make_tables(self, connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, self._kept["revision"])

    def _restore_queues(self, vhost: Vhost) -> None:
        with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for exchange in self._kept["exchanges"]:
                channel.exchange_declare(exchange, "direct", durable=True)
            for queue, arguments in self._kept["queues"].items():
                channel.queue_declare(queue, durable=True, arguments=arguments)
            for exchange, queue, key in self._kept["bindings"]:
                channel.queue_bind(queue, exchange, key)
            for message in self._kept["messages"]:
                properties = pika.BasicProperties(**message["properties"])
                where = message["exchange"], message["key"]
                channel.basic_publish(*where, message["body"].encode(), properties, mandatory=True)
