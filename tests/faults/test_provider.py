"""A provider that is down, throttling or unclear, and senders that are told to stop in the middle of its calls."""

import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime

import pytest
import requests

from tests.conftest import Start
from tests.faults.conftest import RECOVERS_SOON, FaultRun
from tests.faults.test_kills import ends_as, plain_numbers
from tests.support.brokers import Vhost
from tests.support.forking.process import outside_environment, run
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio

DEPTH = 1000
PREFETCH = 250
RATE = 50
PAUSE_S = 8
FINAL_BY_ITS_CALLS = {
    ("accept",): "sent",
    ("500",): "unknown",
    ("503", "accept"): "sent",
    ("503", "500"): "unknown",
    ("503", "503", "accept"): "sent",
    ("503", "503", "500"): "unknown",
    ("503", "503", "503", "accept"): "sent",
    ("503", "503", "503", "500"): "unknown",
    ("503", "503", "503", "503"): "failed",
}
"""The table of outcomes, for the answers that a number got one after the other; at most four attempts."""


@pytest.fixture
def trio(each_vhost: Vhost, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """Nothing of it runs yet."""
    own = {"SMS_PROVIDER_TIMEOUT_S": "10", "SMS_PREFETCH": str(PREFETCH), "SMS_AMQP_URL": each_vhost.amqp_url}
    return Trio(each_vhost, simulator, {**settings, **own}, start)


def down(trio: Trio, how: str) -> Callable[[], None]:
    """Have the provider take nothing; what brings it back."""
    if how == "killed":
        trio.simulator.kill()
        return lambda: trio.simulator.start() and None
    trio.misbehave(how, retry_after_s=2)
    return lambda: trio.misbehave("accept")


@pytest.mark.parametrize(
    ("how", "down_s", "numbers", "at_once"),
    [
        pytest.param("killed", 4, 3000, 1, marks=pytest.mark.quick(only_matrix=True)),
        ("killed", 60, 10_000, 1),
        ("503", 60, 10_000, 1),
        ("throttle", 20, 10_000, 1),
        pytest.param("503", 20, 10_000, 100, id="503-together"),
    ],
)
@pytest.mark.scenario(18, "provider down for long")
def test_a_provider_that_is_down_costs_few_attempts_and_little_room_on_the_broker(
    trio: Trio, how: str, down_s: float, numbers: int, at_once: int, fault: FaultRun
) -> None:
    trio.settings |= {"SMS_OUTBOUND_DEPTH": str(DEPTH), **RECOVERS_SOON}  # so they hold what they have for 2.5 s only
    trio.settings["SMS_PROVIDER_MAX_RECIPIENTS"] = str(at_once)
    trio.up()
    back = down(trio, how)
    batch_id = trio.post(plain_numbers(numbers))
    eventually(lambda: all("circuit_opened" in sender.log for sender in trio.senders))
    deepest, until_s = 0, time.monotonic() + down_s
    while time.monotonic() < until_s:
        deepest = max(deepest, sum(trio.depths().values()))
        time.sleep(0.5)
    assert trio.batch(batch_id)["counts"].get("failed", 0) == 0
    back()
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": numbers}
    # What the senders held when they gave it back to wait, on top of what the dispatcher feeds.
    assert 0 < deepest < DEPTH + 4 * len(trio.senders) * PREFETCH
    burned = sum(message["attempts"] - 1 for message in trio.messages(batch_id))
    assert burned < 4 * len(trio.senders) * PREFETCH


@pytest.mark.parametrize("mode", ["500", pytest.param("garbage", marks=pytest.mark.quick), "accept-reset"])
@pytest.mark.scenario(34, "an outage in which every answer is unclear")
def test_an_outage_of_unclear_answers_costs_some_dozens_and_not_the_batch(
    trio: Trio, mode: str, fault: FaultRun
) -> None:
    trio.up()
    trio.misbehave(mode)
    batch_id = trio.post(plain_numbers(3000))
    eventually(lambda: all("circuit_opened" in sender.log for sender in trio.senders))
    trio.misbehave("accept")
    fault.conserved(trio, [batch_id])
    ends = ends_as(trio, batch_id)
    assert ends.keys() == {"sent", "unknown"}
    # Twenty each, the probes, and no more in hand before one number went through.
    assert ends["unknown"] <= len(trio.senders) * 60
    assert set(trio.provider_calls(batch_id).values()) == {1}


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("accept-late", "timeout"),
        pytest.param("accept-reset", "connection_lost", marks=pytest.mark.quick),
        ("garbage", "answer_not_understood"),
    ],
)
@pytest.mark.scenario(19, "provider answers too late, resets after taking, or answers nonsense")
def test_an_unclear_answer_is_held_and_never_followed_by_a_second_call(
    trio: Trio, mode: str, code: str, fault: FaultRun
) -> None:
    trio.up()
    trio.misbehave(mode, share=0.2, delay_s=15 if mode == "accept-late" else 0, seed=7)
    batch_id = trio.post(plain_numbers(600))
    fault.conserved(trio, [batch_id])
    met = {call["reference"] for call in trio.provider_texts(batch_id) if call["behaviour"] == mode}
    held = {f"{batch_id}:{message['row']}": message for message in trio.messages(batch_id, state="unknown")}
    assert held.keys() == met
    assert {message["error_code"] for message in held.values()} == {code}
    assert len(met) > 60
    assert set(trio.provider_calls(batch_id).values()) == {1}


@pytest.mark.parametrize(
    ("mode", "ending", "seed", "at_once", "share"),  # the endings: 503 once, and always 500
    [
        pytest.param("500", "9003", 1, 1, 0.03, marks=pytest.mark.quick(only_matrix=True)),
        ("500", "9003", 2, 1, 0.03),
        ("503", "9006", 1, 1, 0.03),
        ("503", "9006", 2, 1, 0.03),
        # A 500 is one for all numbers of its call, so few are enough.
        pytest.param("503", "9006", 1, 100, 0.002, id="together-1"),
        pytest.param("503", "9006", 2, 100, 0.002, id="together-2"),
    ],
)
@pytest.mark.scenario(21, "a few per cent of random 500s and 503s")
def test_each_error_is_classified_as_the_table_says(
    trio: Trio, mode: str, ending: str, seed: int, at_once: int, share: float, fault: FaultRun
) -> None:
    chance = random.Random(seed)
    numbers = [
        f"+86139{row:04d}{ending}" if chance.random() < share else number
        for row, number in enumerate(plain_numbers(2000))
    ]
    trio.settings["SMS_PROVIDER_MAX_RECIPIENTS"] = str(at_once)
    trio.up()
    trio.misbehave(mode, share=0.04, seed=seed)
    batch_id = trio.post(numbers)
    fault.conserved(trio, [batch_id])
    answers: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for call in trio.provider_texts(batch_id):
        answers[call["reference"]] += (call["behaviour"],)
    states = {f"{batch_id}:{message['row']}": message["state"] for message in trio.messages(batch_id)}
    assert states == {reference: FINAL_BY_ITS_CALLS[calls] for reference, calls in answers.items()}
    assert Counter(states.values())["unknown"] > 20
    assert ("503", "accept") in answers.values()


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.quick), 5])
@pytest.mark.scenario(20, "a rate for five senders together")
def test_five_senders_together_keep_the_rate(trio: Trio, at_once: int, fault: FaultRun) -> None:
    trio.settings |= {"SMS_PROVIDER_RATE": str(RATE), "SMS_PROVIDER_MAX_RECIPIENTS": str(at_once)}
    trio.up(senders=5)
    posted_at_s = time.time()
    batch_id = trio.post(plain_numbers(8 * RATE * at_once))
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": 8 * RATE * at_once}
    assert most_ahead(trio, posted_at_s) <= 2


@pytest.mark.scenario(20, "429 with Retry-After, five senders")
def test_a_pause_that_one_sender_is_told_holds_all_five(trio: Trio, fault: FaultRun) -> None:
    trio.settings["SMS_PROVIDER_RATE"] = str(RATE)
    trio.up(senders=5)
    trio.misbehave("throttle", retry_after_s=PAUSE_S)
    told, *others = trio.senders
    for sender in others:
        sender.signal(signal.SIGSTOP)
    batch_id = trio.post(plain_numbers(10 * RATE))
    eventually(lambda: "circuit_opened" in told.log)
    for sender in others:
        sender.signal(signal.SIGCONT)
    paused_at_s = call_times_s(trio)[-1]
    time.sleep(1)  # what it had reserved before it was told
    called = sum(trio.provider_calls(batch_id).values())
    while time.time() < paused_at_s + PAUSE_S - 1:
        time.sleep(0.1)
    assert sum(trio.provider_calls(batch_id).values()) - called <= len(trio.senders)
    trio.misbehave("accept")
    fault.conserved(trio, [batch_id])
    assert ends_as(trio, batch_id) == {"sent": 10 * RATE}
    # On a busy machine calls come late.
    assert most_ahead(trio, paused_at_s + PAUSE_S) <= RATE / 2


@pytest.mark.parametrize("ended_by", [pytest.param("probe", marks=pytest.mark.quick), "operator"])
@pytest.mark.scenario(39, "429 with Retry-After: 86400")
def test_a_pause_of_a_day_holds_up_nothing_for_longer_than_the_longest_that_is_kept(
    trio: Trio, ended_by: str, fault: FaultRun
) -> None:
    # Longer than is waited for an operator's word to be heard.
    trio.settings["SMS_PROVIDER_LONGEST_PAUSE_S"] = "4" if ended_by == "probe" else "120"
    trio.up()
    trio.misbehave("slow", delay_s=0.2)  # so that it takes seconds, and does not end before the provider changes
    first = trio.post(plain_numbers(3000))
    eventually(lambda: trio.batch(first)["counts"].get("sent", 0) > 300)
    trio.misbehave("throttle", retry_after_s=86_400)
    eventually(lambda: [held["cause"] for held in trio.held()] == ["asked"])
    eventually(lambda: all("circuit_opened" in sender.log for sender in trio.senders))
    urgent = trio.post(plain_numbers(50), lane="priority")
    assert trio.senders[0].stop() == 0
    trio.senders[0].start()  # one that is new is held as well, and the pause ends for it too
    trio.misbehave("accept")
    if ended_by == "operator":
        resume_until(trio, lambda: trio.batch(urgent)["status"] == "finished")
        # Numbers that were answered so wait out what they were told, so it was not the end of the pause.
        assert trio.batch(first)["counts"]["retrying"] > 0
    fault.conserved(trio, [first, urgent])
    assert (ends_as(trio, first), ends_as(trio, urgent)) == ({"sent": 3000}, {"sent": 50})


@pytest.mark.parametrize(
    ("mode", "ended_by"),
    [
        pytest.param("401", "probe", marks=pytest.mark.quick(only_matrix=True)),
        pytest.param("401", "operator", marks=pytest.mark.quick),
        *((mode, ended_by) for mode in ("402", "403", "407") for ended_by in ("probe", "operator")),
    ],
)
@pytest.mark.scenario(40, "the provider refuses our account in the middle of a batch")
def test_a_refused_account_fails_nobody_and_takes_nobodys_attempt(
    trio: Trio, mode: str, ended_by: str, fault: FaultRun
) -> None:
    trio.settings["SMS_MAX_ATTEMPTS"] = "1"
    trio.up()
    trio.misbehave("slow", delay_s=0.2)  # as above
    first = trio.post(plain_numbers(5000))
    eventually(lambda: trio.batch(first)["counts"].get("sent", 0) > 300)
    trio.misbehave(mode)
    eventually(lambda: [(held["cause"], held["provider_status"]) for held in trio.held()] == [("account", int(mode))])
    later = trio.post(plain_numbers(500))
    assert trio.senders[0].stop() == 0
    trio.senders[0].start()
    trio.misbehave("accept")
    if ended_by == "operator":
        resume_until(trio, lambda: not trio.held())
    fault.conserved(trio, [first, later])
    assert (ends_as(trio, first), ends_as(trio, later)) == ({"sent": 5000}, {"sent": 500})


def resume_until(trio: Trio, holds: Callable[[], bool]) -> None:
    """Say `smsctl provider resume`, again too: an answer that was under way may have asked for the pause once more."""

    def said() -> bool:
        ended = run("tools.ctl", "provider", "resume", environment=outside_environment(**trio.settings), timeout_s=60)
        assert ended.returncode == 0, ended.stderr
        return holds()

    eventually(said, 90, 1)


def call_times_s(trio: Trio) -> list[float]:
    """When the provider was called, in Unix time, ascending."""
    calls = requests.get(f"{trio.simulator.url}/calls", params={"limit": 10_000}, timeout=30).json()["calls"]
    return sorted(datetime.fromisoformat(call["at"]).timestamp() for call in calls)


def most_ahead(trio: Trio, began_at_s: float) -> float:
    """How many calls there were at most beyond what the rate allows since then.

    Not counted by the second: a busy machine makes a call late, which takes nothing from the next second's.
    """
    times_s = sorted({at_s for at_s in call_times_s(trio) if at_s >= began_at_s})  # one time for the numbers of a call
    return max(count - (at_s - began_at_s) * RATE for count, at_s in enumerate(times_s))


@pytest.mark.parametrize(
    ("call_s", "drain_s", "at_once"),
    [(2, 25, 1), pytest.param(2, 25, 100, id="together"), pytest.param(8, 2, 1, id="cut_off")],
)
@pytest.mark.scenario(29, "SIGTERM with 200 calls in flight")
def test_a_sender_told_to_stop_in_the_middle_of_its_calls_ends_in_order(
    trio: Trio, call_s: float, drain_s: float, at_once: int, fault: FaultRun
) -> None:
    trio.settings |= {"SMS_PROVIDER_TIMEOUT_S": "20", "SMS_DRAIN_TIMEOUT_S": str(drain_s)}
    trio.settings["SMS_PROVIDER_MAX_RECIPIENTS"] = str(at_once)
    trio.up(senders=1)
    trio.misbehave("slow", delay_s=call_s)
    batch_id = trio.post(plain_numbers(600))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sending", 0) >= 200)
    assert trio.senders[0].stop() == 0
    left, called = trio.batch(batch_id)["counts"], len(trio.provider_calls(batch_id))
    trio.misbehave("accept")
    trio.senders[0].start()
    found = fault.conserved(trio, [batch_id])
    assert set(trio.provider_calls(batch_id).values()) == {1}
    if drain_s > call_s:
        assert (left["sent"], left.get("sending", 0), found.unknown) == (called, 0, 0)
    else:
        assert 0 < found.unknown == left["sending"]
