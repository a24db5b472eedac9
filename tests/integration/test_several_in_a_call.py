"""Several numbers in one provider call, with the services as processes: each number ends as it would alone."""

from collections import Counter

import pytest
import requests

from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for

AT_ONCE = 100


@pytest.fixture
def trio(vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    settings = settings_for(vhost, postgres_url, simulator)
    return Trio(vhost, simulator, {**settings, "SMS_PROVIDER_MAX_RECIPIENTS": str(AT_ONCE)}, start)


def numbers(count: int, endings: dict[int, str] | None = None) -> list[str]:
    """Numbers that are accepted, but for those rows that are given another ending."""
    given = endings or {}
    return [f"+86138{row:04d}{given.get(row, f'{row % 9000:04d}')}" for row in range(count)]


def requests_of(trio: Trio, batch_id: str) -> int:
    """How many HTTP requests the provider saw with numbers of this batch."""
    answer = requests.get(f"{trio.simulator.url}/calls/summary", params={"batch": batch_id}, timeout=30)
    return int(answer.json()["requests"])


def once_each(trio: Trio, batch_id: str, count: int) -> bool:
    return trio.provider_calls(batch_id) == {f"{batch_id}:{row}": 1 for row in range(count)}


def test_a_thousand_numbers_go_out_once_each_in_a_handful_of_calls(trio: Trio) -> None:
    trio.up(senders=1)
    batch_id = trio.post(numbers(1000))
    assert trio.finished(batch_id) == {"sent": 1000}
    assert once_each(trio, batch_id, 1000)
    assert 10 <= requests_of(trio, batch_id) <= 100


def test_each_of_many_kinds_of_numbers_in_a_call_ends_as_it_would_alone(trio: Trio) -> None:
    kinds = {
        "9001": ("sent", 1, None),
        "9002": ("sent", 2, None),
        "9003": ("sent", 2, None),
        "9004": ("failed", 4, "unavailable"),
        "9005": ("failed", 1, "number_unreachable"),
        "9010": ("failed", 4, "throttled"),
    }
    endings = dict(enumerate([*kinds] * 20, start=200))
    trio.up()
    batch_id = trio.post(numbers(500, endings))
    trio.finished(batch_id)
    for message in trio.messages(batch_id):
        expected = kinds.get(endings.get(message["row"], ""), ("sent", 1, None))
        assert (message["state"], message["attempts"], message["error_code"]) == expected, message
    calls = trio.provider_calls(batch_id)
    attempts = {f"{batch_id}:{message['row']}": message["attempts"] for message in trio.messages(batch_id)}
    assert calls == attempts
    assert requests_of(trio, batch_id) < 100


def test_numbers_with_texts_of_their_own_share_a_call(trio: Trio) -> None:
    trio.up(senders=1)
    recipients = [{"to": number, "variables": {"n": str(row)}} for row, number in enumerate(numbers(300))]
    batch_id = trio.post(recipients, content="Number $n, hello 你好")
    assert trio.finished(batch_id) == {"sent": 300}
    texts = {call["to"]: call["text"] for call in trio.provider_texts(batch_id)}
    assert texts == {number: f"Number {row}, hello 你好" for row, number in enumerate(numbers(300))}
    assert requests_of(trio, batch_id) <= 60


def test_numbers_that_calls_are_refused_for_fail_alone(trio: Trio) -> None:
    trio.up()
    bad = {row: "9011" for row in (0, 123, 124, 300, 499)}
    batch_id = trio.post(numbers(500, bad))
    assert trio.finished(batch_id) == {"sent": 495, "failed": 5}
    assert {message["row"] for message in trio.messages(batch_id, state="failed")} == bad.keys()
    assert once_each(trio, batch_id, 500)
    letters = eventually(lambda: (found := trio.letters("sms.dead-letter")) and len(found) == 5 and found)
    assert letters == {f"{batch_id}:{row}" for row in bad}


@pytest.mark.parametrize(
    ("mode", "ending", "code"),
    [
        pytest.param("accept-late", "9007", "timeout", marks=pytest.mark.large),
        ("accept-reset", "9008", "connection_lost"),
        ("garbage", "9009", "answer_not_understood"),
    ],
)
def test_a_call_without_an_answer_that_says_more_leaves_all_its_numbers_unclear_and_calls_none_again(
    trio: Trio, mode: str, ending: str, code: str
) -> None:
    trio.up(senders=1)
    batch_id = trio.post(numbers(1000, {200: ending, 700: ending}))  # each spoils the call that it is in
    counts = trio.finished(batch_id)
    assert counts.keys() == {"sent", "unknown"}
    assert once_each(trio, batch_id, 1000)
    met = {call["reference"] for call in trio.provider_texts(batch_id) if call["behaviour"] == mode}
    held = {f"{batch_id}:{message['row']}": message for message in trio.messages(batch_id, state="unknown")}
    assert held.keys() == met
    assert {message["error_code"] for message in held.values()} == {code}


def test_a_call_that_is_throttled_as_a_whole_waits_as_a_whole(trio: Trio) -> None:
    trio.up(senders=1)
    trio.misbehave("throttle", retry_after_s=5)  # not over before each was called once
    batch_id = trio.post(numbers(100))
    eventually(lambda: len(trio.provider_calls(batch_id)) == 100)
    trio.misbehave("accept")
    assert trio.finished(batch_id) == {"sent": 100}
    assert trio.provider_calls(batch_id) == {f"{batch_id}:{row}": 2 for row in range(100)}
    assert requests_of(trio, batch_id) <= 40


@pytest.mark.parametrize("count", [1500, pytest.param(3000, marks=pytest.mark.large)])
def test_the_calls_of_a_killed_sender_are_unclear_and_all_other_numbers_are_sent_once(trio: Trio, count: int) -> None:
    trio.up()
    trio.misbehave("slow", delay_s=2.5)
    batch_id = trio.post(numbers(count))
    # More than one sender can have in hand: both have calls under way, for seconds.
    eventually(lambda: trio.batch(batch_id)["counts"].get("sending", 0) > 250)
    trio.senders[0].kill()
    trio.senders[0].start()
    counts = trio.finished(batch_id, 120)
    assert 0 < counts["unknown"] <= 250
    assert counts == {"sent": count - counts["unknown"], "unknown": counts["unknown"]}
    assert set(trio.provider_calls(batch_id).values()) == {1}
    states = Counter(message["state"] for message in trio.messages(batch_id))
    assert states == counts
