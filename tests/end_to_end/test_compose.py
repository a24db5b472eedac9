"""The whole system over the compose file, with five senders: a large batch, and kills in the middle of one."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.compose import Compose, has_compose, running_compose
from tests.support.machine import missing
from tests.support.processes import eventually

pytestmark = [pytest.mark.docker, pytest.mark.compose]

RECIPIENTS = 10_000
TEXT = "Your parcel is waiting, code PINEAPPLE."
FINAL = {"sent", "failed", "unknown", "expired", "invalid", "duplicate", "suppressed", "cancelled"}
# Under the simulator's special endings, 9001 to 9010.
ORDINARY_ENDINGS = 9000
# Five senders with 250 calls each at a time need twelve seconds for a batch then.
SLOW_S = 1.5


def numbers(prefix: int) -> list[str]:
    """Ten thousand numbers that the simulator accepts; `prefix` keeps the batches apart."""
    return [f"+86154{prefix:02d}{n // ORDINARY_ENDINGS:02d}{n % ORDINARY_ENDINGS:04d}" for n in range(RECIPIENTS)]


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    # Fixtures of the module come before what the marker asks for.
    if not has_compose():
        missing("no Docker engine with Compose on this machine")
    folder = tmp_path_factory.mktemp("compose")
    with running_compose(folder, 5, SMS_RETRY_TIERS_S="0.5,1,2", SMS_PROVIDER_TIMEOUT_S="5") as compose:
        yield compose


@pytest.mark.parametrize("files", [(), ("docker-compose.cluster.yml",)], ids=["one node", "cluster"])
def test_each_of_our_services_has_a_limit_of_memory_and_of_processes(tmp_path: Path, files: tuple[str, ...]) -> None:
    if not has_compose():
        missing("no Docker engine with Compose on this machine")
    compose = Compose(tmp_path, files, SMS_RABBITMQ_COOKIE="cookie")
    services = json.loads(compose.run("--profile", "tools", "config", "--format", "json"))["services"]
    for name in ("api", "dispatcher", "sender", "simulator", "smsctl"):
        assert 256 * 2**20 <= int(services[name]["mem_limit"]) <= 2**30, name
        assert 0 < int(services[name]["pids_limit"]) <= 1024, name


def post(compose: Compose, prefix: int) -> str:
    response = compose.post(numbers(prefix), TEXT)
    assert response.status_code == 202, response.text
    assert response.json()["recipients"] == RECIPIENTS
    return str(response.json()["batch_id"])


def test_ten_thousand_recipients_in_one_post_reach_the_provider_once_each(compose: Compose) -> None:
    batch_id = post(compose, 10)
    batch = compose.finished(batch_id, 120)
    assert batch["counts"] == {"sent": RECIPIENTS}
    calls = compose.calls(batch_id)
    assert len(calls) == RECIPIENTS
    assert set(calls.values()) == {1}


@pytest.mark.parametrize(
    ("service", "prefix"),
    [
        # Without compose, test_trio.py kills our services, and test_database_outage.py the database.
        pytest.param("sender", 11, marks=pytest.mark.large),
        pytest.param("dispatcher", 12, marks=pytest.mark.large),
        ("rabbitmq", 13),
        pytest.param("api", 14, marks=pytest.mark.large),
        pytest.param("postgres", 15, marks=pytest.mark.large),
    ],
)
def test_a_service_killed_in_the_middle_of_a_batch_loses_nothing_and_repeats_nothing(
    compose: Compose, service: str, prefix: int
) -> None:
    with compose.slow_provider(SLOW_S):
        batch_id = post(compose, prefix)
        eventually(lambda: compose.batch(batch_id)["counts"].get("sent", 0) >= 500, 60)
        killed = compose.kill(service)
        called = len(compose.calls(batch_id))
    compose.start(killed)
    assert called < RECIPIENTS, "the batch was over before the kill"

    batch = compose.finished(batch_id, 180)

    states, calls = compose.states(batch_id), compose.calls(batch_id)
    assert set(states.values()) <= FINAL
    assert batch["counts"] == Counter(states.values())
    assert sum(batch["counts"].values()) == len(states) == RECIPIENTS
    assert [reference for reference, times in calls.items() if times > 1] == []
    sent = {reference for reference, state in states.items() if state == "sent"}
    unclear = {reference for reference, state in states.items() if state == "unknown"}
    assert sent <= calls.keys() <= sent | unclear
    assert len(sent) + len(unclear) == RECIPIENTS


def test_no_log_shows_a_full_number_or_a_text(compose: Compose) -> None:
    compose.finished(post(compose, 20), 120)
    logs = compose.logs()
    assert "batch" in logs
    assert "PINEAPPLE" not in logs
    shown = set(re.findall(r"(?<![0-9a-f])(?:86)?(154\d{8})(?![0-9a-f])", logs))
    posted = {number.removeprefix("+86") for prefix in (*range(10, 16), 20) for number in numbers(prefix)}
    assert shown & posted == set()


def test_without_the_key_the_api_answers_401(compose: Compose) -> None:
    response = requests.post(f"{compose.api_url}/v1/batches", json={"recipients": ["+8613800138000"]}, timeout=30)
    assert response.status_code == 401
    assert response.headers["Content-Type"] == "application/problem+json"


def test_the_broker_has_shovels_for_moving_messages_in_the_ui_and_metrics_for_prometheus(compose: Compose) -> None:
    enabled = compose.run("exec", "-T", "rabbitmq", "rabbitmq-plugins", "list", "--enabled", "--minimal").split()
    assert {"rabbitmq_shovel", "rabbitmq_shovel_management", "rabbitmq_prometheus"} <= set(enabled)


def test_a_sender_drains_and_ends_with_status_0_when_it_is_stopped(compose: Compose) -> None:
    with compose.slow_provider(SLOW_S):
        batch_id = post(compose, 21)
        eventually(lambda: compose.batch(batch_id)["counts"].get("sent", 0) >= 500, 60)
        compose.run("stop", "sender")
    assert set(compose.run("ps", "--all", "--format", "{{.ExitCode}}", "sender").split()) == {"0"}
    compose.run("start", "sender")
    assert compose.finished(batch_id, 120)["counts"] == {"sent": RECIPIENTS}
