"""Several providers: who gets which message, and what becomes of it when one of them is stopped."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Start
from tests.integration.test_recovery import plain
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.several import Several
from tests.support.trio import settings_for
from tools.simulator.vendors import TOKEN


@pytest.fixture
def trio(vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start, tmp_path: Path) -> Several:
    file = tmp_path / "providers.toml"
    settings = {**settings_for(vhost, database_url, simulator), "SMS_PROVIDERS_FILE": str(file)}
    return Several(vhost, simulator, settings, start, file=file)


def test_messages_are_shared_out_by_weight(trio: Several) -> None:
    trio.has(one="weight = 3", two="weight = 1").up(senders=1)
    batch_id = trio.post(plain(400))
    assert trio.finished(batch_id) == {"sent": 400}
    assert trio.taken(batch_id) == {"one": 300, "two": 100}


def test_the_longest_prefix_says_where_a_number_goes(trio: Several) -> None:
    trio.has(china='prefixes = ["+86"]', elsewhere="", hongkong='prefixes = ["+852"]').up(senders=1)
    numbers = [
        *plain(30),
        *(f"+4915112345{row:03d}" for row in range(20)),
        *(f"+8525123{row:04d}" for row in range(10)),
    ]
    batch_id = trio.post(numbers)
    assert trio.finished(batch_id) == {"sent": 60}
    assert trio.taken(batch_id) == {"china": 30, "elsewhere": 20, "hongkong": 10}


def test_a_pinned_batch_goes_to_its_provider_and_an_unknown_one_is_refused(trio: Several) -> None:
    trio.has(one="", two="").up(senders=1)
    batch_id = trio.post(plain(40), provider="two")
    assert trio.finished(batch_id) == {"sent": 40}
    assert trio.taken(batch_id) == {"two": 40}
    body = {"recipients": plain(1), "content": "x", "provider": "three"}
    answer = requests.post(f"{trio.api.url}/v1/batches", json=body, timeout=30)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/provider")


def test_a_number_that_no_provider_serves_fails_and_says_why(trio: Several) -> None:
    trio.has(china='prefixes = ["+86"]', priority='lanes = ["priority"]').up(senders=1)
    batch_id = trio.post([*plain(5), "+4915112345678"])
    assert trio.finished(batch_id) == {"sent": 5, "failed": 1}
    (failed,) = trio.messages(batch_id, state="failed")
    assert (failed["error_code"], failed["attempts"]) == ("no_route", 0)
    assert "No provider serves this number in the lane bulk" in failed["error_reason"]
    assert trio.letters("sms.dead-letter") == {f"{batch_id}:5"}


@pytest.mark.large
def test_when_one_dies_the_other_takes_over_and_it_comes_back(trio: Several) -> None:
    trio.has(one="weight = 3", two="weight = 1").up(senders=2)
    for name in ("one", "two"):
        trio.behave(name, "slow", delay_s=0.05)
    batch_id = trio.post(plain(4000))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 200)
    trio.behave("one", "503")
    assert trio.finished(batch_id, 120) == {"sent": 4000}
    assert sum(trio.taken(batch_id).values()) == 4000
    trio.behave("one", "accept")

    def at_one() -> bool:
        another = trio.post(plain(40))
        assert trio.finished(another) == {"sent": 40}
        return "one" in trio.taken(another)

    eventually(at_one, 90)


def test_a_refused_account_moves_everything_to_the_other_provider(trio: Several) -> None:
    trio.settings["SMS_MAX_ATTEMPTS"] = "1"
    trio.has(one="", two="").up(senders=2)
    trio.behave("one", "401")
    batch_id = trio.post(plain(1000))
    assert trio.finished(batch_id) == {"sent": 1000}
    assert trio.taken(batch_id) == {"two": 1000}
    pinned, other = trio.post(plain(20), provider="one"), trio.post(plain(20))
    assert trio.finished(other) == {"sent": 20}
    assert trio.batch(pinned)["counts"].get("sent", 0) == 0
    trio.behave("one", "accept")
    trio.command("provider", "resume", "one")
    assert trio.finished(pinned) == {"sent": 20}
    assert trio.taken(pinned) == {"one": 20}


def test_changed_weights_are_taken_without_a_restart_and_a_mistake_changes_nothing(trio: Several) -> None:
    trio.has(one="weight = 3", two="weight = 1").up(senders=1)
    assert trio.finished(trio.post(plain(40))) == {"sent": 40}
    trio.has(one="weight = 1", two="weight = 3").reload()
    for change in ({"one": "weight = 0", "two": ""}, {"one": ""}, {"one": "timeout_s = 1", "two": ""}):
        trio.has(**change).reload("providers_not_reloaded")
    assert "providers.two: one more or less needs a restart" in trio.logs()
    assert "providers.one.timeout_s: a change of it needs a restart" in trio.logs()
    batch_id = trio.post(plain(400))
    assert trio.finished(batch_id) == {"sent": 400}
    assert trio.taken(batch_id) == {"one": 100, "two": 300}


def test_a_key_that_is_revoked_and_given_anew_fails_nobody(trio: Several, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(TOKEN)
    trio.file.write_text(f"""
[providers.only]
type = "twilio"
account_sid = "AC{"0" * 32}"
auth_token = "file:{key}"
from = "+15005550006"
endpoint = "{trio.simulator.url}"
allow_http = true
""")
    trio.settings["SMS_MAX_ATTEMPTS"] = "1"
    trio.up(senders=2)
    trio.misbehave("slow", delay_s=0.05)
    batch_id = trio.post(plain(3000))
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 200)
    key.write_text("revoked")
    trio.reload()
    eventually(lambda: [held["cause"] for held in trio.held()] == ["account"])
    assert trio.batch(batch_id)["counts"].get("failed", 0) == 0
    key.write_text(TOKEN)
    trio.reload()
    assert trio.finished(batch_id, 120) == {"sent": 3000}
    found = requests.get(f"{trio.simulator.url}/calls?limit=10000", timeout=30).json()["calls"]
    accepted = Counter(call["to"] for call in found if call["message_id"])
    assert len(accepted) == 3000
    assert set(accepted.values()) == {1}


def test_a_paused_provider_is_called_for_nobody_and_goes_on_when_it_is_resumed(trio: Several) -> None:
    trio.has(one="", two="").up(senders=2)
    assert trio.command("providers", "pause", "one") == "one is paused\n"
    assert trio.command("providers", "pause", "one") == "one was paused before\n"
    eventually(lambda: [held["cause"] for held in trio.held()] == ["paused"])
    pinned, free = trio.post(plain(30), provider="one"), trio.post(plain(200))
    assert trio.finished(free) == {"sent": 200}
    assert trio.taken(free) == {"two": 200}
    assert trio.taken(pinned) == {}
    answer = requests.post(f"{trio.api.url}/v1/providers/one/resume", timeout=30)
    assert (answer.status_code, answer.json()["state"]) == (200, "open")
    assert trio.finished(pinned) == {"sent": 30}
    again = requests.post(f"{trio.api.url}/v1/providers/one/resume", timeout=30)
    assert (again.status_code, again.json()["state"]) == (200, "open")
    unknown = requests.post(f"{trio.api.url}/v1/providers/three/pause", timeout=30)
    assert (unknown.status_code, unknown.headers["Content-Type"]) == (404, "application/problem+json")
    assert "there is one, two" in unknown.json()["detail"]


def test_the_list_shows_who_serves_a_provider_and_what_becomes_of_its_messages(trio: Several) -> None:
    trio.has(one='weight = 3\nrate = 500\nprefixes = ["+86"]', two="").up(senders=2)
    trio.settings["SMS_API_URL"] = trio.api.url
    assert trio.finished(trio.post(plain(60))) == {"sent": 60}

    def shown() -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in trio.providers_shown()}

    eventually(lambda: shown()["one"]["sent_last_minute"] == 60, 30)
    one = shown()["one"]
    assert (one["senders"], one["state"], one["weight"], one["rate"], one["prefixes"]) == (2, "open", 3, 500, ["+86"])
    assert requests.post(f"{trio.api.url}/v1/providers/two/pause", timeout=30).json()["state"] == "paused"
    said = trio.command("providers", "list")
    assert "An operator paused it" in said
    assert "one (weight 3)" in trio.command("providers", "check", "--to", "13800138000")
    for sender in trio.senders:
        assert sender.stop() == 0
    assert shown()["one"]["senders"] == 0


def test_a_test_reaches_the_provider_that_is_named_and_says_what_became_of_it(trio: Several) -> None:
    trio.has(one='prefixes = ["+86"]\nweight = 100', two="", default="").up(senders=1)
    trio.settings["SMS_API_URL"] = trio.api.url
    said = trio.command("providers", "test", "two", "--to", "+8613800138000", "--content", "hello")
    (batch_id,) = re.findall(r"batch (\S+): accepted, 1 recipients", said)
    assert trio.taken(batch_id) == {"two": 1}
    trio.behave("one", "refuse")
    status, complaint = trio.refused("providers", "test", "one", "--to", "+8613800138000")
    assert status == 1
    assert "not sent; to see why: smsctl status" in complaint
    for name in ("three", "default"):
        status, complaint = trio.refused("providers", "test", name, "--to", "+8613800138000")
        assert (status, name in complaint) == (2, True)


def test_a_mistyped_name_pauses_nobody_also_where_the_file_is_not(trio: Several) -> None:
    trio.has(one="", two="").up(senders=1)
    eventually(lambda: {each["name"] for each in trio.providers_shown() if each["senders"]} == {"one", "two"})
    for file in (str(trio.file), ""):
        trio.settings["SMS_PROVIDERS_FILE"] = file
        for name in ("tow", "default"):
            assert trio.refused("providers", "pause", name) == (
                2,
                f"smsctl: there is no provider {name}; there is one, two\n",
            )
        assert trio.command("providers", "pause", "two") == "two is paused\n"
        assert trio.command("providers", "resume", "two") == "two is called again\n"
    assert [each["state"] for each in trio.providers_shown()] == ["open", "open"]


def test_all_services_take_a_changed_file_when_an_operator_says_so(trio: Several) -> None:
    trio.has(one="weight = 1", two="weight = 1").up(senders=1)
    trio.has(one="weight = 1", two="weight = 7")
    trio.command("providers", "reload")
    services = (trio.api, trio.dispatcher, *trio.senders)
    eventually(lambda: all("providers_reloaded" in service.log for service in services))
    weights = [each["weight"] for each in requests.get(f"{trio.api.url}/v1/providers", timeout=30).json()["providers"]]
    assert weights == [1, 7]


def test_what_is_over_a_days_limit_goes_to_another_provider_and_else_waits(trio: Several) -> None:
    trio.has(one="daily = 50\nweight = 1000", two="").up(senders=2)
    batch_id = trio.post(plain(300))
    assert trio.finished(batch_id) == {"sent": 300}
    assert trio.taken(batch_id)["one"] == 50
    pinned = trio.post(plain(5), provider="one")
    eventually(lambda: [held["cause"] for held in trio.held()] == ["daily"])
    assert trio.batch(pinned)["counts"] == {"pending": 5}
