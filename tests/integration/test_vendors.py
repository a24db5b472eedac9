"""Batches through each vendor's API, as the simulator speaks it: what each number ends as, and a revoked key."""

from collections.abc import Sequence
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
    "aliyun": """
access_key_id = "LTAI0of1nobody"
access_key_secret = "env:VENDOR_KEY"
sign_name = "某公司"
templates = { 1 = { code = "SMS_1", params = { text = "words" } } }
""",
    "tencent": """
secret_id = "AKID0of1nobody"
secret_key = "env:VENDOR_KEY"
sdk_app_id = "1400000001"
sign_name = "某公司"
templates = { 1 = { code = "1001", params = ["text"] } }
""",
    "http": """
headers = { Authorization = "Bearer $secret.key" }
fields = { reference = "$reference", to = "$to", text = "$text" }
secrets = { key = "env:VENDOR_KEY" }
answer = { id = "message_id", code = "code", message = "message" }
codes = { number = ["number_unreachable"], throttled = ["throttled"], unavailable = ["unavailable"] }
""",
}
SEVERAL_IN_A_CALL = {"infobip", "aliyun", "tencent"}
OF_A_TEMPLATE = {"aliyun": 'SMS_1 {{"words":"{}"}}', "tencent": "1001 {}"}
"""What the simulator records of a text."""
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
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trio(
    vendor: str,
    vhost: Vhost,
    database_url: str,
    simulator: ServiceProcess,
    start: Start,
    tmp_path: Path,
) -> Trio:
    file = tmp_path / "providers.toml"
    account = f'[providers.default]\ntype = "{vendor}"\n{ACCOUNTS[vendor]}\n'
    path = "/messages" if vendor == "http" else ""
    file.write_text(f'{account}endpoint = "{simulator.url}{path}"\nallow_http = true\n')
    settings = {**settings_for(vhost, database_url, simulator), "SMS_PROVIDERS_FILE": str(file), "VENDOR_KEY": TOKEN}
    if vendor in SEVERAL_IN_A_CALL:
        settings["SMS_PROVIDER_MAX_RECIPIENTS"] = "100"
    trio = Trio(vhost, simulator, settings, start).up()
    environment = outside_environment(**settings)
    added = run("tools.ctl", "templates", "add", "any", "$text", environment=environment, timeout_s=60)
    assert added.returncode == 0, added.stderr
    return trio


def posted(trio: Trio, vendor: str, recipients: Sequence[str], text: str = "Hello 你好") -> str:
    """Post a batch of a text, or of the template that it fills, for a vendor that takes nothing else."""
    if vendor in OF_A_TEMPLATE:
        return trio.post(recipients, content=None, template_id=1, variables={"text": text})
    return trio.post(recipients, content=text)


def test_every_number_ends_as_the_vendors_answer_says(trio: Trio, vendor: str) -> None:
    for ending, state in ENDS.items():  # one after the other: numbers that share a call share what becomes of it
        batch_id = posted(trio, vendor, [f"+8613800{row:02d}{ending}" for row in range(3)])
        assert trio.finished(batch_id) == {state: 3}, ending
    assert not any(f"13800{row:02d}" in trio.logs() for row in range(3))


def test_plain_texts_go_out_once_each_as_they_are(trio: Trio, vendor: str) -> None:
    plain = [number for number in numbers(150) if not number[-4:].startswith("90")]
    text = "Grüße, 您好 & 50 % + €5"
    batch_id = posted(trio, vendor, plain, text)
    assert trio.finished(batch_id) == {"sent": len(plain)}
    calls = requests.get(f"{trio.simulator.url}/calls?limit=10000", timeout=30).json()["calls"]
    assert sorted(call["to"] for call in calls) == sorted(plain)
    assert {call["text"] for call in calls} == {OF_A_TEMPLATE.get(vendor, "{}").format(text)}


# Twilio's is revoked in test_several_providers.py too, and what each vendor's answers mean is in tests/unit/vendors.
@pytest.mark.parametrize(
    "vendor",
    [pytest.param(name, marks=() if name == "aliyun" else pytest.mark.large) for name in ACCOUNTS],
    indirect=True,
)
def test_a_revoked_key_fails_nobody(trio: Trio, vendor: str) -> None:
    trio.misbehave("401")
    plain = [number for number in numbers(100) if not number[-4:].startswith("90")]
    batch_id = posted(trio, vendor, plain)
    eventually(lambda: [held["cause"] for held in trio.held()] == ["account"])
    trio.misbehave("accept")
    environment = outside_environment(**trio.settings)
    assert run("tools.ctl", "provider", "resume", environment=environment, timeout_s=60).returncode == 0
    counts = trio.finished(batch_id, 120)
    assert counts == {"sent": sum(counts.values())}
