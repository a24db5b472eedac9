"""Receipts through all services: what each vendor tells of its texts, late, twice, before its own answer, or never."""

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Start
from tests.integration.test_recovery import plain
from tests.integration.test_vendors import ACCOUNTS
from tests.support.brokers import Vhost
from tests.support.forking.process import outside_environment, run
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for
from tools.simulator.vendors import TOKEN

SECRET = "a-path-that-nobody-guesses"
BY_SIGNATURE = {"twilio", "vonage"}
BY_PATH = 'receipts = { secret = "env:RECEIPTS_PATH" }'
SIGNED = 'receipts = { signature_key = "env:VENDOR_KEY" }'
OF_A_TEMPLATE = {"aliyun", "tencent"}


class Told(Trio):
    """A trio whose provider tells what became of its texts."""

    def began(self, kind: str, account: str, *, senders: int = 2) -> "Told":
        """Start everything; the senders know by then where vendors reach the api."""
        file = Path(self.settings["SMS_PROVIDERS_FILE"])
        endpoint = f'{"url" if kind == "plain" else "endpoint"} = "{self._endpoint(kind)}"\nallow_http = true'
        receipts = SIGNED if kind in BY_SIGNATURE else BY_PATH
        file.write_text(f'[providers.main]\ntype = "{kind}"\n{endpoint}\n{receipts}\n{account}\n')
        self.up(senders=0)
        self.settings["SMS_PUBLIC_URL"] = self.api.url
        self.senders = [self.start("services.sender", **self.settings) for _ in range(senders)]
        return self

    def tell(self, **behaviour: Any) -> None:
        """Tell the provider how to tell receipts from now on."""
        url = f"{self.api.url}/v1/receipts/main/{SECRET}"
        urls = {"plain": url, "aliyun": url, "tencent": url}
        answer = requests.put(f"{self.simulator.url}/receipts", json={"urls": urls, **behaviour}, timeout=30)
        assert answer.status_code == 200, answer.text

    def told(self) -> dict[str, Any]:
        """What the provider has told."""
        found: dict[str, Any] = requests.get(f"{self.simulator.url}/receipts", timeout=30).json()
        return found

    def settled(self, batch_id: str, **counts: int) -> None:
        """Wait until the batch has these counts; at every look they add up to its recipients."""

        def look() -> bool:
            batch = self.batch(batch_id)
            assert sum(batch["counts"].values()) == batch["recipients"]
            return {name: number for name, number in batch["counts"].items() if number} == counts

        try:
            eventually(look, 60, 0.2)
        except AssertionError:
            raise AssertionError(f"{self.batch(batch_id)['counts']}, {self.told()}"[:2000]) from None

    def _endpoint(self, kind: str) -> str:
        return f"{self.simulator.url}/messages" if kind in ("http", "plain") else self.simulator.url


@pytest.fixture
def trio(
    vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start, tmp_path: Path, monkeypatch: Any
) -> Told:
    monkeypatch.setenv("VENDOR_KEY", TOKEN)
    monkeypatch.setenv("RECEIPTS_PATH", SECRET)
    settings = settings_for(vhost, database_url, simulator)
    return Told(vhost, simulator, {**settings, "SMS_PROVIDERS_FILE": str(tmp_path / "providers.toml")}, start)


def posted(trio: Told, kind: str, count: int) -> str:
    if kind not in OF_A_TEMPLATE:
        return trio.post(plain(count))
    added = run(
        "tools.ctl", "templates", "add", "notice", "$text",
        environment=outside_environment(**trio.settings), timeout_s=60,
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    recipients = [{"to": number, "variables": {"text": "hello"}} for number in plain(count)]
    return trio.post(recipients, template_id=1, content=None)


@pytest.mark.parametrize("kind", [*ACCOUNTS, "plain"])
def test_each_vendors_receipts_say_what_became_of_its_texts(trio: Told, kind: str) -> None:
    trio.began(kind, ACCOUNTS.get(kind, ""))
    trio.tell(undelivered=0.3, twice=0.3, shuffled_s=0.5, seed=7)
    batch_id = posted(trio, kind, 40)
    eventually(lambda: not trio.told()["waiting"] and len(trio.told()["taken"]) == 40, 60, 0.2)
    arrived = sum(each == [True] for each in trio.told()["taken"].values())
    assert 0 < arrived < 40
    trio.settled(batch_id, delivered=arrived, undelivered=40 - arrived)
    batch = trio.batch(batch_id)
    assert (batch["status"], batch["receipts"]) == ("finished", {"expected": 40, "received": 40})
    messages = trio.messages(batch_id)
    assert all(message["receipt_at"] for message in messages)
    assert all(bool(message["error_code"]) is (message["state"] == "undelivered") for message in messages)
    assert trio.depths()["sms.receipts.unmatched"] == 0
