"""What the api shows of the ledger, on both databases: batches, numbers, events."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import requests
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.api.batches.events import Events
from services.api.batches.reading import Batches
from services.api.intake.idempotency import Idempotency
from services.api.ledger import Ledger
from services.api.serving.auth import auth_middleware
from services.api.serving.peers import Places
from shared.cache import Cache
from shared.domain.outcome import CallResult, Verdict
from shared.domain.states import State
from shared.ids import new_batch_id
from shared.ledger.database import Database
from shared.ledger.intake import Content, IntakeLedger, NewRow, Progress
from shared.ledger.provider_gates import ProviderGates
from shared.messages import BatchMessage
from shared.statuses import Statuses
from tests.conftest import Start
from tests.support import transitions
from tests.support.api import get, post
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually

NUMBERS = [f"+86138001380{row:02d}" for row in range(5)]


@pytest.fixture
def api(start: Start, vhost: Vhost, database_url: str) -> ServiceProcess:
    return start("services.api", SMS_AMQP_URL=vhost.amqp_url, SMS_DATABASE_URL=database_url)


def in_ledger(database_url: str, write: Callable[[IntakeLedger], Awaitable[None]]) -> None:
    async def run() -> None:
        database = Database(database_url)
        try:
            await transitions.lift(database)  # rows in states that no first one is in
            await write(IntakeLedger(database))
        finally:
            await database.close()

    asyncio.run(run())


def begin(database_url: str, batch_id: str, accepted_at_ms: int = 1_700_000_000_000, *tags: str) -> None:
    batch = BatchMessage(
        batch_id=batch_id,
        fingerprint="f",
        accepted_at_ms=accepted_at_ms,
        recipients=list(NUMBERS),
        content="x",
        tags=list(tags),
    )

    async def write(ledger: IntakeLedger) -> None:
        await ledger.begin(batch, Content("x", "x"), None)

    in_ledger(database_url, write)


def write_rows(database_url: str, batch_id: str, states: list[State]) -> None:
    rows = [
        NewRow(number, state, error_code="c", error_reason="r") for number, state in zip(NUMBERS, states, strict=True)
    ]

    async def write(ledger: IntakeLedger) -> None:
        assert await ledger.write(batch_id, Progress(0, "x", None), rows, 1_700_000_001_000)

    in_ledger(database_url, write)


FINAL = [State.SENT, State.SENT, State.FAILED, State.DUPLICATE, State.INVALID]


def test_a_batch_goes_from_accepted_over_running_to_finished(api: ServiceProcess, database_url: str) -> None:
    accepted = post(api, NUMBERS).json()
    place = accepted["links"]["self"]
    before = get(api, place).json()
    assert (before["status"], before["recipients"], before["counts"]) == ("accepted", 5, {"pending": 5})
    assert get(api, f"{place}/messages").json() == {"messages": [], "next_cursor": None}
    begin(database_url, accepted["batch_id"])
    running = get(api, place).json()
    assert (running["status"], running["counts"], running["finished_at"]) == ("running", {"pending": 5}, None)
    assert running["created_at"] == "2023-11-14T22:13:20.000Z"
    write_rows(database_url, accepted["batch_id"], FINAL)
    finished = get(api, place).json()
    assert finished["status"] == "finished"
    assert finished["counts"] == {"sent": 2, "failed": 1, "duplicate": 1, "invalid": 1}
    assert finished["finished_at"] == "2023-11-14T22:13:21.000Z"


def test_a_batch_that_this_process_did_not_accept_is_accepted_all_the_same(api: ServiceProcess) -> None:
    unknown = get(api, f"/v1/batches/{new_batch_id(1)}").json()
    assert (unknown["status"], unknown["recipients"], unknown["counts"]) == ("accepted", None, {})


def test_numbers_are_masked_and_come_page_by_page(api: ServiceProcess, database_url: str) -> None:
    batch_id = new_batch_id(1)
    begin(database_url, batch_id)
    write_rows(database_url, batch_id, FINAL)
    path, rows, pages = f"/v1/batches/{batch_id}/messages?limit=2", [], 0
    while path:
        answer = get(api, path)
        rows.extend(answer.json()["messages"])
        pages += 1
        cursor = answer.json()["next_cursor"]
        assert (answer.links.get("next") is None) == (cursor is None)
        path = answer.links["next"]["url"] if cursor else ""
    assert pages == 3
    assert [row["row"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["state"] for row in rows] == FINAL
    assert rows[0]["recipient"] == "+86138****8000"
    assert set(rows[0]) >= {"row", "recipient", "state", "attempts", "error_code", "error_reason",
                            "provider_message_id", "updated_at"}  # fmt: skip
    failed = get(api, f"/v1/batches/{batch_id}/messages?state=failed").json()["messages"]
    assert [row["row"] for row in failed] == [2]
    assert get(api, f"/v1/batches/{batch_id}/messages?state=lost").status_code == 422


def test_batches_come_newest_first_page_by_page(api: ServiceProcess, database_url: str) -> None:
    ids = [new_batch_id(number) for number in range(5)]
    for number, batch_id in enumerate(ids):
        begin(database_url, batch_id, 1_700_000_000_000 + number // 2)
    path, seen = "/v1/batches?limit=2", []
    while path:
        answer = get(api, path)
        seen.extend(batch["batch_id"] for batch in answer.json()["batches"])
        path = answer.links.get("next", {}).get("url", "")
    assert sorted(seen) == sorted(ids)
    assert seen[0] == ids[4]
    assert set(seen[3:]) == set(ids[:2])


def events(answer: requests.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    event_id = ""
    for line in answer.iter_lines():
        if line.startswith(b"id: "):
            event_id = line[4:].decode()
        if line.startswith(b"data: "):
            yield event_id, orjson.loads(line[6:])


def test_events_follow_the_counts_to_the_end_and_an_ended_stream_is_not_begun_again(
    api: ServiceProcess, database_url: str
) -> None:
    batch_id = post(api, NUMBERS).json()["batch_id"]
    place = f"/v1/batches/{batch_id}/events"
    with get(api, place, stream=True) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        stream = events(answer)
        assert next(stream)[1]["status"] == "accepted"
        begin(database_url, batch_id)
        assert next(stream)[1]["status"] == "running"
        write_rows(database_url, batch_id, FINAL)
        last_id, last = next(stream)
        assert (last["status"], last["counts"]["sent"]) == ("finished", 2)
        assert list(stream) == []
    assert get(api, place, headers={"Last-Event-ID": last_id}).status_code == 204
    with get(api, place, headers={"Last-Event-ID": "another"}, stream=True) as answer:
        assert [event_id for event_id, _ in events(answer)] == [last_id]


def test_event_streams_of_a_key_are_bounded_and_an_ended_one_leaves_its_place(
    start: Start, vhost: Vhost, sqlite_url: str
) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": sqlite_url}
    keys = ("the-first-key-of-the-tests", "the-other-key-of-the-tests")
    api = start("services.api", **settings, SMS_API_MAX_CONNECTIONS="20", SMS_API_KEYS=",".join(keys))
    place = f"/v1/batches/{new_batch_id(1)}/events"

    def streamed(key: str) -> requests.Response:
        return get(api, place, headers={"Authorization": f"Bearer {key}"}, stream=True)

    with ExitStack() as stack:
        streams = [stack.enter_context(streamed(keys[0])) for _ in range(5)]
        assert {stream.status_code for stream in streams} == {200}
        refused = stack.enter_context(streamed(keys[0]))
        assert (refused.status_code, refused.headers["Content-Type"]) == (429, "application/problem+json")
        assert int(refused.headers["Retry-After"]) > 0
        assert stack.enter_context(streamed(keys[1])).status_code == 200
        streams[0].close()

        def is_let_in() -> bool:
            with streamed(keys[0]) as stream:
                return stream.ok

        eventually(is_let_in)


async def test_a_stream_of_a_batch_that_stays_unknown_ends(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    ledger = Ledger(database)
    await ledger.prepare()
    no_redis = Cache(None, b"")
    batches = Batches(ledger, Idempotency(no_redis, ledger, 1, 1), Statuses(no_redis))
    app = web.Application(middlewares=[auth_middleware((), ())])
    app.router.add_get("/{batch_id}", Events(batches, Places(1, 1), asyncio.Event(), unknown_s=0).stream)
    async with TestClient(TestServer(app)) as client, asyncio.timeout(30):
        answer = await client.get(f"/{new_batch_id(1)}")
        assert answer.status == 200
        assert (await answer.read()).count(b"data: ") == 1
    await database.close()


def test_sigterm_ends_event_streams_and_the_process(api: ServiceProcess) -> None:
    with get(api, f"/v1/batches/{new_batch_id(1)}/events", stream=True) as answer:
        stream = events(answer)
        next(stream)
        assert api.stop() == 0
        assert list(stream) == []


def test_a_status_in_redis_is_forgotten_in_time(start: Start, vhost: Vhost, sqlite_url: str, redis_url: str) -> None:
    settings = {"SMS_AMQP_URL": vhost.amqp_url, "SMS_DATABASE_URL": sqlite_url, "SMS_REDIS_URL": redis_url}
    api, batch_id = start("services.api", **settings), new_batch_id(1)
    begin(sqlite_url, batch_id)
    assert get(api, f"/v1/batches/{batch_id}").json()["status"] == "running"
    write_rows(sqlite_url, batch_id, FINAL)
    eventually(lambda: get(api, f"/v1/batches/{batch_id}").json()["status"] == "finished")


def test_batches_are_found_by_a_tag_page_by_page(api: ServiceProcess, database_url: str) -> None:
    tagged = [new_batch_id(time_ms) for time_ms in range(5)]
    for time_ms, batch_id in enumerate(tagged):
        begin(database_url, batch_id, time_ms, "双十一 50%", f"n{time_ms}")
        begin(database_url, new_batch_id(time_ms), time_ms, "双十一", "n")
        begin(database_url, new_batch_id(time_ms), time_ms)
    found, path = [], f"/v1/batches?limit=2&tag={quote('双十一 50%')}"
    while path:
        answer = get(api, path)
        found += answer.json()["batches"]
        path = answer.links.get("next", {}).get("url", "")
    assert [batch["batch_id"] for batch in found] == tagged[::-1]
    assert [batch["tags"] for batch in found] == [["双十一 50%", f"n{time_ms}"] for time_ms in range(5)][::-1]
    assert get(api, f"/v1/batches/{tagged[3]}").json()["tags"] == ["双十一 50%", "n3"]
    assert [len(get(api, f"/v1/batches?tag={tag}").json()["batches"]) for tag in ("n3", "n", "n5")] == [1, 5, 0]
    for wrong in ("", "%00", "x" * 65):
        answer = requests.get(f"{api.url}/v1/batches?tag={wrong}", timeout=30)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/tag")


def test_a_provider_that_is_held_is_told_with_the_reason(api: ServiceProcess, database_url: str) -> None:
    answer = CallResult(Verdict.ACCOUNT, "http_402", "No balance", 402)

    async def hold() -> None:
        database = Database(database_url)
        try:
            await ProviderGates(database).hold("default", 300, answer)
        finally:
            await database.close()

    assert get(api, "/v1/provider").json() == {"held": []}
    asyncio.run(hold())
    (held,) = get(api, "/v1/provider").json()["held"]
    assert datetime.fromisoformat(held.pop("until")).timestamp() > time.time() + 100
    assert held == {
        "provider": "default",
        "cause": "account",
        "error_code": "http_402",
        "error_reason": "No balance",
        "provider_status": 402,
    }
