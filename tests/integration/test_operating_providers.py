"""What operators ask of several providers over HTTP and on the command line, while services run."""

import json
import re
from pathlib import Path

import pytest
import requests

from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.several import Several
from tests.support.trio import settings_for

NUMBER = "+8613800138000"


@pytest.fixture
def trio(vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start, tmp_path: Path) -> Several:
    file = tmp_path / "providers.toml"
    settings = {**settings_for(vhost, database_url, simulator), "SMS_PROVIDERS_FILE": str(file)}
    return Several(vhost, simulator, settings, start, file=file)


def test_a_test_over_http_goes_by_the_provider_that_is_named_and_once_for_each_key(trio: Several) -> None:
    trio.has(one="weight = 1000", two="weight = 1", slow='lanes = ["bulk"]').up(senders=1)

    def ask(name: str, **more: object) -> requests.Response:
        body = {"to": NUMBER, "content": "hello", **more}
        headers = {"Idempotency-Key": name}
        return requests.post(f"{trio.api.url}/v1/providers/{name}/test", json=body, headers=headers, timeout=30)

    for name, lane in (("two", "priority"), ("slow", "bulk")):
        answer = ask(name)
        batch_id = answer.json()["batch_id"]
        assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1/batches/{batch_id}")
        assert trio.finished(batch_id) == {"sent": 1}
        assert trio.taken(batch_id) == {name: 1}
        shown = requests.get(f"{trio.api.url}/v1/batches/{batch_id}", timeout=30).json()
        assert (shown["lane"], shown["provider"], shown["reference"]) == (lane, name, "provider test")
        assert ask(name).json()["batch_id"] == batch_id
    assert ask("two", content="other").status_code == 422
    assert ask("three").status_code == 404


def test_a_provider_of_the_priority_lane_only_is_tested_in_it(trio: Several) -> None:
    trio.has(one="", urgent='lanes = ["priority"]').up(senders=1)
    trio.settings["SMS_API_URL"] = trio.api.url
    assert "1 recipients" in trio.command("providers", "test", "urgent", "--to", NUMBER)


def test_a_test_has_what_fills_its_text(trio: Several) -> None:
    trio.has(one="", two="").up(senders=1)
    trio.settings["SMS_API_URL"] = trio.api.url
    text = ("--content", "Hello $name", "--variable", "name=Li=Lei")
    said = trio.command("providers", "test", "two", "--to", NUMBER, *text)
    (batch_id,) = re.findall(r"batch (\S+): accepted, 1 recipients", said)
    calls = requests.get(f"{trio.providers['two'].url}/calls", params={"batch": batch_id}, timeout=30).json()["calls"]
    assert [call["text"] for call in calls] == ["Hello Li=Lei"]
    assert trio.refused("providers", "test", "two", "--to", NUMBER, "--variable", "name")[0] == 2


def test_the_list_for_machines_says_since_when_a_provider_is_paused(trio: Several) -> None:
    trio.has(one="", two="").up(senders=2)
    trio.settings["SMS_API_URL"] = trio.api.url
    eventually(lambda: all(each["senders"] == 2 for each in trio.providers_shown()))
    trio.command("providers", "pause", "two")
    one, two = json.loads(trio.command("providers", "list", "--json"))
    assert (one["state"], one["since"]) == ("open", None)
    assert (two["state"], two["cause"], two["until"], two["senders"]) == ("paused", "paused", None, 2)
    assert two["since"]
    assert two["since"] == {each["name"]: each["since"] for each in trio.providers_shown()}["two"]
