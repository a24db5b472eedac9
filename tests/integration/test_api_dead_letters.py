"""Dead letters over HTTP, with the real services: listed, counted, sent again, thrown away; a number's attempts."""

from typing import Any

import pytest
import requests

from shared.topology import DEAD_LETTER
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.handmade_ledger import letter_ids
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for

NUMBERS = [f"+861380013{row:04d}" for row in range(30)]


@pytest.fixture
def trio(vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    return Trio(vhost, simulator, settings_for(vhost, database_url, simulator), start).up(1)


def get(trio: Trio, path: str, **query: Any) -> dict[str, Any]:
    answer = requests.get(f"{trio.api.url}{path}", params=query, timeout=30)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


def post(trio: Trio, command: str, **members: Any) -> requests.Response:
    return requests.post(f"{trio.api.url}/v1/dead-letters/{command}", json=members, timeout=60)


def refused(trio: Trio) -> str:
    before = trio.depths()[DEAD_LETTER]
    trio.misbehave("refuse")
    batch_id = trio.post(NUMBERS)
    assert trio.finished(batch_id) == {"failed": len(NUMBERS)}
    eventually(lambda: trio.depths()[DEAD_LETTER] == before + len(NUMBERS))
    trio.misbehave("accept")
    return batch_id


def test_failed_numbers_are_listed_in_pages_and_counted(trio: Trio) -> None:
    first, second = refused(trio), refused(trio)
    page = get(trio, "/v1/dead-letters", batch_id=second, limit=20)
    rest = get(trio, "/v1/dead-letters", batch_id=second, limit=20, cursor=page["next_cursor"])
    assert rest["next_cursor"] is None
    listed = page["dead_letters"] + rest["dead_letters"]
    assert [letter["message_id"] for letter in listed] == [f"{second}:{row}" for row in range(30)]
    assert listed[1]["recipient"] == "+86138****0001"
    assert (listed[1]["error_code"], listed[1]["provider"], listed[1]["attempts"]) == (
        "number_unreachable",
        "default",
        1,
    )
    everything = get(trio, "/v1/dead-letters", limit=1000)["dead_letters"]
    assert {letter["batch_id"] for letter in everything} == {first, second}
    assert get(trio, "/v1/dead-letters", code="another")["dead_letters"] == []
    (group,) = get(trio, "/v1/dead-letters/groups")["groups"]
    assert (group["error_code"], group["numbers"], group["batches"]) == ("number_unreachable", 60, 2)


def test_letters_are_sent_again_in_parts_each_once(trio: Trio) -> None:
    batch_id = refused(trio)
    assert post(trio, "replay", all=True, dry_run=True).json() == {
        "dry_run": True, "done": 30, "removed": {}, "left": {}, "more": False,
    }  # fmt: skip
    first = post(trio, "replay", batch_id=batch_id, limit=20).json()
    assert (first["done"], first["more"]) == (20, True)
    second = post(trio, "replay", batch_id=batch_id, limit=20).json()
    assert (second["done"], second["more"]) == (10, False)
    assert trio.finished(batch_id) == {"sent": 30}
    assert trio.provider_accepted(batch_id) == {f"{batch_id}:{row}": 1 for row in range(30)}
    assert get(trio, "/v1/dead-letters")["dead_letters"] == []


def test_what_is_thrown_away_is_listed_no_more_and_a_person_is_found_by_number(trio: Trio) -> None:
    batch_id = refused(trio)
    assert post(trio, "discard", recipient=NUMBERS[3], reason="moved away").json()["done"] == 1
    assert f"{batch_id}:3" not in letter_ids(trio.vhost, DEAD_LETTER)
    listed = {letter["row"] for letter in get(trio, "/v1/dead-letters")["dead_letters"]}
    assert listed == set(range(30)) - {3}
    assert trio.finished(batch_id) == {"failed": 30}
    assert post(trio, "replay", recipient=NUMBERS[4]).json()["done"] == 1
    assert trio.finished(batch_id) == {"failed": 29, "sent": 1}


def test_each_attempt_of_a_number_can_be_asked_for(trio: Trio) -> None:
    batch_id = trio.post(["+8613800139003", "+8613800130000"])
    assert trio.finished(batch_id) == {"sent": 2}
    attempts = get(trio, f"/v1/batches/{batch_id}/messages/0/attempts")["attempts"]
    assert [(one["attempt"], one["state"], one["error_code"]) for one in attempts] == [
        (1, "retrying", "unavailable"),
        (2, "sent", None),
    ]
    assert all(one["sender"].startswith("sender@") and one["begun_at"] <= one["ended_at"] for one in attempts)
    (only,) = get(trio, f"/v1/batches/{batch_id}/messages/1/attempts")["attempts"]
    assert (only["attempt"], only["state"]) == (1, "sent")
    for place in (f"{batch_id}/messages/2", f"{batch_id}/messages/x", "no-batch/messages/0"):
        answer = requests.get(f"{trio.api.url}/v1/batches/{place}/attempts", timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({}, ""),
        ({"all": True, "code": "x"}, ""),
        ({"row": 1, "all": True}, ""),
        ({"all": True, "limit": 0}, "/limit"),
        ({"recipient": "13800138000"}, "/recipient"),
        ({"batch_id": "x"}, "/batch_id"),
        ({"failed_before": "yesterday"}, "/failed_before"),
        ({"all": True, "colour": 1}, "/colour"),
    ],
)
def test_what_is_not_clear_is_refused_with_its_place(trio: Trio, members: dict[str, Any], pointer: str) -> None:
    answer = post(trio, "replay", **members)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [pointer]
    assert post(trio, "discard", all=True).json()["errors"][0]["pointer"] == "/reason"
