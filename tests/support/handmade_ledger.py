"""A ledger written by hand: batches whose numbers stand as a test needs them, and the letters and calls to go with."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pika
import requests
from sqlalchemy import insert, text

from shared.clock import now_ms
from shared.domain.states import LIVE_STATES, State
from shared.ids import new_batch_id
from shared.ledger.database import Database
from shared.ledger.tables import batches, counter, messages, provider_senders
from shared.topology import DEAD_LETTER, DeadLetterKey
from tests.support import transitions
from tests.support.brokers import Vhost

CALLED = frozenset({State.SENDING, State.RETRYING, State.SENT, State.FAILED, State.UNKNOWN})
AGE_MS = 60_000


def number(row: int) -> str:
    """The phone number of a row."""
    return f"+86138{row:08d}"


class HandmadeLedger:
    """A ledger, written past the services."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        asyncio.run(self._migrate())

    def batch(self, states: Sequence[State], **fields: Any) -> str:
        """A batch whose rows are in these states, counted rightly; its id."""
        return asyncio.run(self._batch(states, fields))

    def execute(self, statement: str, **values: Any) -> None:
        """Change something by hand."""
        asyncio.run(self._execute(statement, values))

    def serve(self, *providers: str) -> None:
        """A sender that serves these, and is heard of for as long as a test takes."""
        seen = {"seen_at_us": (now_ms() + 3_600_000) * 1000, "in_flight": 0, "sent": 0, "failed": 0}
        asyncio.run(self._add_senders([{"provider": name, "sender": "sender@here", **seen} for name in providers]))

    def rows(self, batch_id: str, columns: str) -> list[tuple[Any, ...]]:
        """Some columns of a batch's rows, in order."""
        query = f"SELECT {columns} FROM messages WHERE batch_id = :batch_id ORDER BY row_no"
        return asyncio.run(self._fetch(query, batch_id=batch_id))

    def batches(self, columns: str) -> list[tuple[Any, ...]]:
        """Some columns of every batch, by age."""
        return asyncio.run(self._fetch(f"SELECT {columns} FROM batches ORDER BY accepted_at_ms"))

    def of_batch(self, batch_id: str, columns: str) -> tuple[Any, ...]:
        """Some columns of a batch."""
        (found,) = asyncio.run(self._fetch(f"SELECT {columns} FROM batches WHERE id = :id", id=batch_id))
        return found

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return asyncio.run(self._fetch(query))

    async def _migrate(self) -> None:
        database = Database(self._url)
        await database.migrate()
        await transitions.lift(database)
        await database.close()

    async def _add_senders(self, senders: Sequence[dict[str, Any]]) -> None:
        database = Database(self._url)
        async with database.writing() as connection:
            await connection.execute(insert(provider_senders), senders)
        await database.close()

    async def _batch(self, states: Sequence[State], fields: dict[str, Any]) -> str:
        database, batch_id = Database(self._url), fields.get("id") or new_batch_id(now_ms())
        at_ms = now_ms() - AGE_MS
        is_finished = not LIVE_STATES.intersection(states)
        values = {
            "id": batch_id, "fingerprint": "f", "state": "finished" if is_finished else "running", "lane": "bulk",
            "provider": "default", "on_unknown": "hold", "content": "text", "accepted_at_ms": at_ms,
            "written_at_ms": at_ms, "finished_at_ms": at_ms if is_finished else None, "recipients": len(states),
            "rows_written": len(states), **{counter(state): n for state, n in Counter(states).items()}, **fields,
        }  # fmt: skip
        rows = [
            {"batch_id": batch_id, "row_no": row, "recipient": number(row), "state": state.value,
             "attempt": int(state in CALLED), "updated_at_ms": at_ms,
             "error_code": "timeout" if state is State.UNKNOWN else None}
            for row, state in enumerate(states)
        ]  # fmt: skip
        async with database.writing() as connection:
            await connection.execute(insert(batches).values(values))
            await connection.execute(insert(messages), rows)
        await database.close()
        return batch_id

    async def _execute(self, statement: str, values: dict[str, Any]) -> None:
        database = Database(self._url)
        async with database.writing() as connection:
            await connection.execute(text(statement), values)
        await database.close()

    async def _fetch(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        database = Database(self._url)
        async with database.reading() as connection:
            found = [tuple(row) for row in await connection.execute(text(query), values)]
        await database.close()
        return found


def put_letters(vhost: Vhost, key: DeadLetterKey, message_ids: Sequence[str]) -> None:
    """Dead letters, as a sender writes them."""
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for message_id in message_ids:
            channel.basic_publish(DEAD_LETTER, key, b"{}", pika.BasicProperties(message_id=message_id), mandatory=True)


def letter_ids(vhost: Vhost, queue: str) -> list[str]:
    """The message ids in a queue, sorted: which of two numbers ends first is not promised."""
    return sorted(str(message["properties"]["message_id"]) for message in vhost.messages(queue))


def call_provider(simulator_url: str, batch_id: str, rows: Sequence[int], ending: str = "0000") -> None:
    """Calls as a sender makes them; the number's ending says what comes of them."""
    for row in rows:
        message = {"reference": f"{batch_id}:{row}", "to": f"+861380000{ending}", "text": "text"}
        requests.post(f"{simulator_url}/messages", json=message, timeout=10)
