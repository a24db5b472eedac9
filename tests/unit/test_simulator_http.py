"""The simulator over real HTTP on loopback: the provider contract, misbehaviour, and what it recorded."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient

from tools.simulator.app import build_app

ORDINARY = "+8613800138000"
LATE_S = 30.0

Simulator = TestClient[Any, Any]


@pytest.fixture
async def simulator(aiohttp_client: Callable[..., Awaitable[Simulator]]) -> Simulator:
    return await aiohttp_client(build_app(LATE_S))


async def send(simulator: Simulator, reference: str, to: str = ORDINARY) -> aiohttp.ClientResponse:
    return await simulator.post("/messages", json={"reference": reference, "to": to, "text": "hello"})


async def send_together(simulator: Simulator, *to: str) -> aiohttp.ClientResponse:
    messages = [{"reference": f"b:{row}", "to": number, "text": f"hello {row}"} for row, number in enumerate(to)]
    return await simulator.post("/messages", json={"messages": messages})


async def calls(simulator: Simulator, query: str = "") -> list[dict[str, Any]]:
    response = await simulator.get(f"/calls{query}")
    assert response.status == 200
    listed: list[dict[str, Any]] = (await response.json())["calls"]
    return listed


async def summary(simulator: Simulator, query: str = "") -> dict[str, Any]:
    answered: dict[str, Any] = await (await simulator.get(f"/calls/summary{query}")).json()
    return answered


async def test_a_message_is_accepted_with_an_id_of_its_own_and_recorded(simulator: Simulator) -> None:
    first, second = await send(simulator, "b:1"), await send(simulator, "b:2")
    assert (first.status, first.content_type) == (200, "application/json")
    ids = [(await response.json())["message_id"] for response in (first, second)]
    assert len(set(ids)) == 2
    recorded = (await calls(simulator))[0]
    assert recorded.pop("at").endswith("+00:00")
    assert recorded == {
        "reference": "b:1",
        "to": ORDINARY,
        "text": "hello",
        "behaviour": "accept",
        "message_id": ids[0],
    }


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [
        ("9004", 503, "unavailable"),
        ("9005", 400, "number_unreachable"),
        ("9006", 500, "internal_error"),
        ("9010", 429, "throttled"),
    ],
)
async def test_a_rejecting_ending_answers_with_a_code_and_a_sentence(
    simulator: Simulator, ending: str, status: int, code: str
) -> None:
    response = await send(simulator, "b:1", f"+861380013{ending}")
    problem = await response.json()
    assert (response.status, problem["code"]) == (status, code)
    assert problem["message"].endswith(".")
    assert response.headers.get("Retry-After") == ("1" if status == 429 else None)
    assert (await calls(simulator))[0]["message_id"] is None


@pytest.mark.parametrize(("ending", "status", "behaviour"), [("9002", 429, "throttle"), ("9003", 503, "503")])
async def test_a_once_ending_rejects_each_reference_once(
    simulator: Simulator, ending: str, status: int, behaviour: str
) -> None:
    number = f"+861380013{ending}"
    statuses = [(await send(simulator, reference, number)).status for reference in ("b:1", "b:2", "b:1", "b:2")]
    assert statuses == [status, status, 200, 200]
    assert (await summary(simulator))["by_behaviour"] == {behaviour: 2, "accept": 2}


async def test_several_messages_are_answered_and_recorded_one_by_one(simulator: Simulator) -> None:
    response = await send_together(
        simulator, ORDINARY, "+8613800139005", "+8613800139001", "+8613800139003", "+8613800139010"
    )
    assert (response.status, response.content_type) == (200, "application/json")
    assert response.headers["Retry-After"] == "1"
    results = (await response.json())["results"]
    assert [result["reference"] for result in results] == ["b:0", "b:1", "b:2", "b:3", "b:4"]
    codes = [result.get("code") for result in results]
    assert codes == [None, "number_unreachable", None, "unavailable", "throttled"]
    assert all(("message_id" in result) != ("message" in result) for result in results)
    recorded = await calls(simulator)
    assert [call["text"] for call in recorded] == [f"hello {row}" for row in range(5)]
    assert [call["behaviour"] for call in recorded] == ["accept", "refuse", "slow", "503", "throttle"]
    assert [call["message_id"] for call in recorded] == [result.get("message_id") for result in results]


async def test_a_once_ending_among_several_is_accepted_at_its_second_call(simulator: Simulator) -> None:
    numbers = ORDINARY, "+8613800139002", "+8613800139003"
    for codes in ([None, "throttled", "unavailable"], [None, None, None]):
        results = (await (await send_together(simulator, *numbers)).json())["results"]
        assert [result.get("code") for result in results] == codes


@pytest.mark.parametrize(("ending", "status"), [("9002", 429), ("9003", 503), ("9004", 503), ("9010", 429)])
async def test_several_that_all_have_to_wait_are_a_429_or_a_503(simulator: Simulator, ending: str, status: int) -> None:
    response = await send_together(simulator, f"+861380013{ending}", f"+861380014{ending}")
    assert response.status == status
    assert response.headers.get("Retry-After") == ("1" if status == 429 else None)
    assert (await summary(simulator))["calls"] == 2


async def test_several_that_are_all_refused_have_a_result_each(simulator: Simulator) -> None:
    response = await send_together(simulator, "+8613800139005", "+8613800149005")
    results = (await response.json())["results"]
    assert (response.status, {result["code"] for result in results}) == (200, {"number_unreachable"})


@pytest.mark.parametrize(("ending", "status"), [("9006", 500), ("9009", 200)])
async def test_an_answer_that_one_of_several_spoils_takes_none_of_them(
    simulator: Simulator, ending: str, status: int
) -> None:
    response = await send_together(simulator, ORDINARY, f"+861380013{ending}")
    assert response.status == status
    assert "results" not in await response.text()
    seen = await summary(simulator)
    assert (seen["requests"], seen["calls"], seen["accepted"]) == (1, 2, 0)


async def test_a_reset_loses_the_answer_to_all_that_were_taken(simulator: Simulator) -> None:
    with pytest.raises((ConnectionResetError, aiohttp.ClientOSError)):
        await send_together(simulator, ORDINARY, "+8613800139008", "+8613800139005")
    behaviours = [call["behaviour"] for call in await calls(simulator)]
    assert behaviours == ["accept-reset", "accept-reset", "refuse"]


async def test_a_list_with_an_impossible_number_is_refused_before_any_is_looked_at(simulator: Simulator) -> None:
    response = await send_together(simulator, ORDINARY, "+8613800139011")
    assert (response.status, (await response.json())["code"]) == (400, "bad_request")
    seen = await summary(simulator)
    assert (seen["requests"], seen["calls"]) == (1, 0)
    alone = await send_together(simulator, "+8613800139011")
    assert (alone.status, (await summary(simulator))["by_behaviour"]) == (400, {"spoil": 1})


async def test_the_summary_tells_requests_from_calls(simulator: Simulator) -> None:
    await send_together(simulator, *[ORDINARY] * 10)
    await send(simulator, "b:1")
    await send(simulator, "c:1")
    assert [(await summary(simulator, query))["requests"] for query in ("", "?batch=b", "?batch=c")] == [3, 2, 1]
    assert (await summary(simulator))["calls"] == 12


async def test_a_slow_number_is_accepted_after_its_delay(simulator: Simulator) -> None:
    response = await send(simulator, "b:1", "+8613800139001")
    assert "message_id" in await response.json()
    assert (await calls(simulator))[0]["behaviour"] == "slow"


async def test_garbage_is_a_200_that_is_no_json(simulator: Simulator) -> None:
    response = await send(simulator, "b:1", "+8613800139009")
    assert (response.status, response.content_type) == (200, "text/html")
    assert "message_id" not in await response.text()
    assert (await summary(simulator))["accepted"] == 0


async def test_accept_reset_resets_the_connection_and_counts_as_accepted(simulator: Simulator) -> None:
    with pytest.raises((ConnectionResetError, aiohttp.ClientOSError)) as reset:
        await send(simulator, "b:1", "+8613800139008")
    assert "reset" in str(reset.value).lower()
    assert (await summary(simulator))["accepted"] == 1
    assert (await send(simulator, "b:2")).status == 200


async def test_accept_late_counts_as_accepted_while_the_caller_gives_up(simulator: Simulator) -> None:
    call = asyncio.create_task(send(simulator, "b:1", "+8613800139007"))
    async with asyncio.timeout(LATE_S):
        while not await calls(simulator):
            await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (recorded,) = await calls(simulator)
    assert recorded["behaviour"] == "accept-late"
    assert recorded["message_id"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "body"),
        (b"no json", "body"),
        (b"[]", "body"),
        (b'{"to": "+8613800138000", "text": "hello"}', "reference"),
        (b'{"reference": "", "to": "+8613800138000", "text": "hello"}', "reference"),
        (b'{"reference": "b:1", "to": 13800138000, "text": "hello"}', "to"),
        (b'{"reference": "b:1", "to": "+8613800138000"}', "text"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": {"reference": "b:1"}}', "messages"),
        (b'{"messages": [{"reference": "b:1", "to": "+8613800138000", "text": "hello"}, {}]}', "messages.1.reference"),
    ],
)
async def test_a_malformed_message_is_a_400_that_names_the_field(simulator: Simulator, body: bytes, named: str) -> None:
    response = await simulator.post("/messages", data=body)
    problem = await response.json()
    assert (response.status, problem["code"]) == (400, "bad_request")
    assert problem["message"].startswith(f"{named}: ")
    assert (await summary(simulator))["calls"] == 0


async def test_the_default_behaviour_is_accept_until_it_is_put(simulator: Simulator) -> None:
    accepting = {"mode": "accept", "share": 1.0, "delay_s": 0.0, "retry_after_s": 1, "seed": 0}
    assert await (await simulator.get("/behaviour")).json() == accepting
    response = await simulator.put("/behaviour", json={"mode": "throttle", "retry_after_s": 7})
    assert (response.status, await response.json()) == (200, accepting | {"mode": "throttle", "retry_after_s": 7})
    throttled = await send(simulator, "b:1")
    assert (throttled.status, throttled.headers["Retry-After"]) == (429, "7")


async def test_a_behaviour_holds_for_its_share_of_the_calls_only(simulator: Simulator) -> None:
    await simulator.put("/behaviour", json={"mode": "500", "share": 0.5, "seed": 3})
    statuses = {(await send(simulator, f"b:{row}")).status for row in range(40)}
    assert statuses == {200, 500}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"mode": "explode"}, "mode"),
        ({"mode": 503}, "mode"),
        ({"share": 1.5}, "share"),
        ({"share": "0.5"}, "share"),
        ({"delay_s": -1}, "delay_s"),
        ({"retry_after_s": 0.5}, "retry_after_s"),
        ({"seed": None}, "seed"),
        ({"shares": 1}, "shares"),
        ([], "body"),
    ],
)
async def test_a_bad_behaviour_is_a_422_that_names_the_field_and_changes_nothing(
    simulator: Simulator, body: object, field: str
) -> None:
    before = await (await simulator.get("/behaviour")).json()
    response = await simulator.put("/behaviour", json=body)
    problem = await response.json()
    assert (response.status, problem["code"], problem["errors"][0]["field"]) == (422, "invalid", field)
    assert problem["message"].startswith(f"{field}: ")
    assert await (await simulator.get("/behaviour")).json() == before


async def test_calls_are_listed_by_reference_and_batch_a_page_at_a_time(simulator: Simulator) -> None:
    for reference in ("a:1", "a:2", "ab:1", "a:1", "a"):
        await send(simulator, reference)
    assert [call["reference"] for call in await calls(simulator)] == ["a:1", "a:2", "ab:1", "a:1", "a"]
    assert [call["reference"] for call in await calls(simulator, "?batch=a")] == ["a:1", "a:2", "a:1"]
    assert len(await calls(simulator, "?reference=a:1")) == 2
    assert await calls(simulator, "?reference=ab:1&batch=a") == []
    page = await calls(simulator, "?batch=a&limit=1&offset=1")
    assert [call["reference"] for call in page] == ["a:2"]


@pytest.mark.parametrize(
    ("path", "field"),
    [("/calls?limit=0", "limit"), ("/calls?offset=x", "offset"), ("/calls/summary?batsh=a", "batsh")],
)
async def test_a_bad_query_is_a_422_that_names_the_field(simulator: Simulator, path: str, field: str) -> None:
    response = await simulator.get(path)
    assert response.status == 422
    assert (await response.json())["errors"][0]["field"] == field


async def test_the_summary_tells_repeated_references_from_those_accepted_twice(simulator: Simulator) -> None:
    for reference, to in (
        ("a:1", ORDINARY),
        ("a:1", ORDINARY),
        ("a:2", "+8613800139003"),
        ("a:2", "+8613800139003"),
        ("a:3", "+8613800139005"),
        ("b:1", ORDINARY),
    ):
        await send(simulator, reference, to)
    assert await summary(simulator, "?batch=a") == {
        "requests": 5,
        "calls": 5,
        "accepted": 3,
        "references": 3,
        "repeated": 2,
        "accepted_twice": 1,
        "by_behaviour": {"accept": 3, "503": 1, "refuse": 1},
    }
    everything = await summary(simulator)
    assert (everything["calls"], everything["references"]) == (6, 4)
    assert (await summary(simulator, "?batch=c"))["calls"] == 0


async def test_counts_are_calls_per_reference(simulator: Simulator) -> None:
    for reference in ("a:1", "a:1", "b:1"):
        await send(simulator, reference)
    assert await (await simulator.get("/calls/counts")).json() == {"counts": {"a:1": 2, "b:1": 1}}
    assert await (await simulator.get("/calls/counts?batch=a")).json() == {"counts": {"a:1": 2}}


async def test_deleted_calls_are_forgotten_and_once_starts_again(simulator: Simulator) -> None:
    assert (await send(simulator, "b:1", "+8613800139003")).status == 503
    assert (await simulator.delete("/calls")).status == 204
    assert await calls(simulator) == []
    assert (await send(simulator, "b:1", "+8613800139003")).status == 503


async def test_it_says_that_it_is_healthy(simulator: Simulator) -> None:
    response = await simulator.get("/healthz")
    assert (response.status, await response.json()) == (200, {"status": "ok"})


async def test_an_unknown_path_is_a_404_that_says_where_messages_go(simulator: Simulator) -> None:
    response = await simulator.post("/message")
    problem = await response.json()
    assert (response.status, problem["code"]) == (404, "not_found")
    assert "POST /messages" in problem["message"]
