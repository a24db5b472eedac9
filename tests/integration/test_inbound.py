"""Texts from handsets: STOP is obeyed, START too, and what a person has to read waits for one."""

from typing import Any

import pytest
import requests

from tests.conftest import Start
from tests.integration.test_receipts import SECRET, Told
from tests.integration.test_vendors import ACCOUNTS
from tests.support.brokers import Vhost
from tests.support.forking.process import outside_environment, run
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import settings_for
from tools.simulator.vendors import TOKEN

NUMBER, OTHER = "+8613800138000", "+8613800138001"


@pytest.fixture
def trio(
    vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start, tmp_path: Any, monkeypatch: Any
) -> Told:
    monkeypatch.setenv("VENDOR_KEY", TOKEN)
    monkeypatch.setenv("RECEIPTS_PATH", SECRET)
    settings = settings_for(vhost, postgres_url, simulator)
    return Told(vhost, simulator, {**settings, "SMS_PROVIDERS_FILE": str(tmp_path / "providers.toml")}, start)


def hears(trio: Told, kind: str, text: str, sender: str = NUMBER, message_id: str = "1") -> None:
    """A handset texts us, by the provider."""
    path = "" if kind in ("twilio", "vonage") else f"/{SECRET}"
    body = {
        "kind": kind,
        "url": f"{trio.api.url}/v1/inbound/main{path}",
        "sender": sender,
        "text": text,
        "message_id": message_id,
    }
    answer = requests.post(f"{trio.simulator.url}/inbound", json=body, timeout=30)
    assert 200 <= answer.json()["status"] < 300, answer.text


def is_listed(trio: Told, number: str = NUMBER) -> bool:
    found = requests.get(f"{trio.api.url}/v1/suppressions", params={"recipient": number}, timeout=30).json()
    return bool(found["suppressions"])


def smsctl(trio: Told, *words: str) -> str:
    ended = run("tools.ctl", *words, environment=outside_environment(**trio.settings), timeout_s=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("kind", "stop", "start_again"),
    [
        ("twilio", "Stop", "START"),
        ("vonage", "unsubscribe", "start"),
        ("infobip", "ＳＴＯＰ", "Start!"),
        ("aliyun", "退订", "恢复"),
        ("tencent", " td ", "订阅"),
        ("plain", "Opt-out", "opt in"),
    ],
)
def test_each_vendors_stop_is_obeyed_and_start_ends_it(trio: Told, kind: str, stop: str, start_again: str) -> None:
    trio.began(kind, ACCOUNTS.get(kind, ""), senders=0)
    hears(trio, kind, stop)
    eventually(lambda: is_listed(trio))
    hears(trio, kind, start_again, message_id="2")
    eventually(lambda: not is_listed(trio))


def test_who_said_stop_gets_nothing_and_what_nobody_can_tell_waits_for_a_person(trio: Told) -> None:
    trio.began("plain", 'sender_name = "brand"', senders=1)
    hears(trio, "plain", "STOP")
    hears(trio, "plain", "why do you keep texting me, don't send me that", OTHER, "2")
    hears(trio, "plain", "why do you keep texting me, don't send me that", OTHER, "2")
    hears(trio, "plain", "See you at eight", OTHER, "3")
    eventually(lambda: is_listed(trio))
    batch_id = trio.post([NUMBER, OTHER])
    assert trio.finished(batch_id) == {"suppressed": 1, "sent": 1}
    shown = eventually(lambda: "don't send me that" in (said := smsctl(trio, "inbound", "review")) and said)
    assert OTHER not in shown
    assert "See you at eight" not in shown
    assert shown.count("keep texting") == 1
    assert smsctl(trio, "inbound", "review", "--opt-out", "1") == "1 opted out\n"
    assert smsctl(trio, "inbound", "review", "--opt-out", "1") == "0 opted out\n"
    assert "keep texting" not in smsctl(trio, "inbound", "review")
    assert trio.finished(trio.post([NUMBER, OTHER])) == {"suppressed": 2}
    assert smsctl(trio, "suppressions", "list").count("brand") == 2
    assert all(number not in trio.logs() for number in (NUMBER, OTHER))


def test_a_refusal_that_says_so_puts_the_number_on_the_list(trio: Told) -> None:
    trio.began("twilio", ACCOUNTS["twilio"], senders=1)
    unsubscribed = "+8613800009005"
    assert trio.finished(trio.post([unsubscribed])) == {"failed": 1}
    assert is_listed(trio, unsubscribed)
    assert trio.finished(trio.post([unsubscribed])) == {"suppressed": 1}
