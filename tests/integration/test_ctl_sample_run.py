"""smsctl sample against the real services and the simulator."""

import re

import pytest

from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess
from tests.support.trio import TIERS_S, Trio
from tools.ctl.__main__ import main
from tools.ctl.batches import sample


@pytest.fixture
def trio(vhost: Vhost, sqlite_url: str, simulator: ServiceProcess, start: Start) -> Trio:
    settings = {
        "SMS_AMQP_URL": vhost.amqp_url,
        "SMS_DATABASE_URL": sqlite_url,
        "SMS_PROVIDER_URL": f"{simulator.url}/messages",
        "SMS_PROVIDER_TIMEOUT_S": "6",  # between the simulator's slow and late answers, far from both
        "SMS_RETRY_TIERS_S": TIERS_S,
    }
    return Trio(vhost, simulator, settings, start).up()


def test_every_number_of_the_sample_ends_as_its_group_says(
    trio: Trio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMS_API_URL", trio.api.url)
    with pytest.raises(SystemExit) as ended:
        main(["sample", "--recipients", "200"])
    assert ended.value.code == 0
    expected: dict[str, int] = {}
    for group, size in sample.composition(200).items():
        expected[group.ends] = expected.get(group.ends, 0) + size
    batch_id = re.findall(r"batch (\S+): accepted, 200 recipients", capsys.readouterr().out)[0]
    assert trio.finished(batch_id) == expected
