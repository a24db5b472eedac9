"""Batches through each vendor's API, as the simulator speaks it: what each number ends as, and a revoked key."""

from pathlib import Path

import pytest
import requests

from tests.conftest import Start
from tests.integration.test_trio import numbers
from tests.support.brokers import Vhost
from tests.support.forking.process import outside_environment, run
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for
from tools.simulator.vendors import TOKEN

ACCOUNTS = {
    "twilio": f'account_sid = "AC{"0" * 32}"\nauth_token = "env:VENDOR_KEY"\nfrom = "+15005550006"',
    "vonage": 'api_key = "abcd1234"\napi_secret = "env:VENDOR_KEY"\nfrom = "Acme"',
    "infobip": 'api_key = "env:VENDOR_KEY"\nfrom = "Acme"',
    "http": """
headers = { Authorization = "Bearer $secret.key" }
fields = { reference = "$reference", to = "$to", text = "$text" }
secrets = { key = "env:VENDOR_KEY" }
answer = { id = "message_id", code = "code", message = "message" }
codes = { number = ["number_unreachable"], throttled = ["throttled"], unavailable = ["unavailable"] }
""",
}
ENDS = {
    "0001": "sent",
    "9001": "sent",  # slowly
    "9002": "sent",  # throttled at first
    "9003": "sent",  # not available at first
    "9005": "failed",
    "9006": "unknown",  # an error of theirs
    "9008": "unknown",  # no answer
    "9009": "unknown",  # none that anybody understands
}
"""By a number's ending."""


@pytest.fixture(params=ACCOUNTS)
def trio(
    request: pytest.FixtureRequest,
    vhost: Vhost,
    database_url: str,
    simulator: ServiceProcess,
    start: Start,
    tmp_path: Path,
) -> Trio:
    file = tmp_path / "providers.toml"
    account = f'[providers.default]\ntype = "{request.param}"\n{ACCOUNTS[request.param]}\n'
    path = "/messages" if request.param == "http" else ""
    file.write_text(f'{account}endpoint = "{simulator.url}{path}"\nallow_http = true\n')
    settings = {**settings_for(vhost, database_url, simulator), "SMS_PROVIDERS_FILE": str(file), "VENDOR_KEY": TOKEN}
    if request.param == "infobip":
        settings["SMS_PROVIDER_MAX_RECIPIENTS"] = "100"
    return Trio(vhost, simulator, settings, start).up()


def test_every_number_ends_as_the_vendors_answer_says(trio: Trio) -> None:
    for ending, state in ENDS.items():  # one after the other: numbers that share a call share what becomes of it
        assert trio.finished(trio.post([f"+8613800{row:02d}{ending}" for row in range(3)])) == {state: 3}, ending
    assert not any(f"13800{row:02d}" in trio.logs() for row in range(3))


def test_plain_texts_go_out_once_each_as_they_are(trio: Trio) -> None:
    plain = [number for number in numbers(150) if not number[-4:].startswith("90")]
    batch_id = trio.post(plain, content="Grüße, 您好 & 50 % + €5")
    assert trio.finished(batch_id) == {"sent": len(plain)}
    calls = requests.get(f"{trio.simulator.url}/calls?limit=10000", timeout=30).json()["calls"]
    assert sorted(call["to"] for call in calls) == sorted(plain)
    assert {call["text"] for call in calls} == {"Grüße, 您好 & 50 % + €5"}


def test_a_revoked_key_fails_nobody(trio: Trio) -> None:
    trio.misbehave("401")
    batch_id = trio.post([number for number in numbers(100) if not number[-4:].startswith("90")])
    eventually(lambda: [held["cause"] for held in trio.held()] == ["account"])
    trio.misbehave("accept")
    environment = outside_environment(**trio.settings)
    assert run("tools.ctl", "provider", "resume", environment=environment, timeout_s=60).returncode == 0
    counts = trio.finished(batch_id, 120)
    assert counts == {"sent": sum(counts.values())}
