"""smsctl topology against a real broker."""

from typing import Any

import pytest

from tests.support.brokers import Vhost
from tools.ctl.__main__ import main

TIERS = "1,60"
QUEUES = {
    "sms.batches",
    "sms.outbound.priority",
    "sms.outbound.bulk",
    "sms.retry.1s",
    "sms.retry.1m",
    "sms.dead-letter",
    "sms.dead-letter.batches",
    "sms.unknown",
    "sms.receipts",
    "sms.receipts.later",
    "sms.receipts.unmatched",
    "sms.inbound",
}


@pytest.fixture(autouse=True)
def settings(vhost: Vhost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_AMQP_URL", vhost.amqp_url)
    monkeypatch.setenv("SMS_MANAGEMENT_URL", vhost.management_url)
    monkeypatch.setenv("SMS_RETRY_TIERS_S", TIERS)


def _topology(*options: str) -> int:
    try:
        main(["topology", *options])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _queues(vhost: Vhost) -> set[str]:
    return {str(queue["name"]) for queue in vhost.broker.api("GET", f"queues/{vhost.name}")}


def _delete(vhost: Vhost, queue: str) -> None:
    vhost.broker.api("DELETE", f"queues/{vhost.name}/{queue}")


def _declare(vhost: Vhost, queue: str, arguments: dict[str, Any]) -> None:
    vhost.broker.api("PUT", f"queues/{vhost.name}/{queue}", json={"durable": True, "arguments": arguments})


def test_the_topology_is_declared_and_then_found_as_it_should_be(
    vhost: Vhost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _topology() == 0
    assert _queues(vhost) == QUEUES
    capsys.readouterr()
    assert _topology("--check") == 0
    assert capsys.readouterr().out.startswith("as it should be: 5 exchanges, 12 queues")


def test_a_check_of_an_empty_broker_names_everything_and_creates_nothing(
    vhost: Vhost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _topology("--check") == 1
    said = capsys.readouterr()
    assert {f"queue {name} is missing" for name in QUEUES} < set(said.out.splitlines())
    assert said.err == "smsctl: the broker differs in 17 of 5 exchanges, 12 queues\n"
    assert _queues(vhost) == set()


def test_a_check_names_what_is_missing_and_the_argument_that_differs(
    vhost: Vhost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _topology() == 0
    _delete(vhost, "sms.unknown")
    _delete(vhost, "sms.retry.1s")
    _declare(vhost, "sms.retry.1s", {"x-queue-type": "quorum", "x-message-ttl": 7000})
    capsys.readouterr()
    assert _topology("--check") == 1
    differing, missing = capsys.readouterr().out.splitlines()
    assert differing.startswith("queue sms.retry.1s on the broker has x-")
    assert missing == "queue sms.unknown is missing"
    assert _queues(vhost) == QUEUES - {"sms.unknown"}


def test_a_check_names_a_policy_that_changes_what_queues_do_and_how_it_is_cleared(
    vhost: Vhost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _topology() == 0
    capsys.readouterr()
    body = {"pattern": ".*", "definition": {"message-ttl": 1000}, "apply-to": "queues"}
    vhost.broker.api("PUT", f"policies/{vhost.name}/expiring", json=body)
    assert _topology("--check") == 1
    said = capsys.readouterr()
    what, todo = said.out.splitlines()
    assert what.startswith("policy expiring (pattern .*) sets message-ttl=1000 on sms.batches, sms.outbound.priority")
    assert todo.startswith(f"    rabbitmqctl clear_policy -p {vhost.name} expiring ")
    assert said.err.endswith("as they should be, and 1 policy that changes what they do\n")
    vhost.broker.api("DELETE", f"policies/{vhost.name}/expiring")
    assert _topology("--check") == 0


def test_a_check_without_the_management_api_says_that_policies_were_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _topology() == 0
    monkeypatch.setenv("SMS_MANAGEMENT_URL", "")
    capsys.readouterr()
    assert _topology("--check") == 0
    reason = "no management API is configured (SMS_MANAGEMENT_URL is empty)"
    assert capsys.readouterr().out.startswith(f"not checked: policies, because {reason}\n")


def test_a_queue_that_is_otherwise_is_one_line(vhost: Vhost, capsys: pytest.CaptureFixture[str]) -> None:
    _declare(vhost, "sms.batches", {"x-queue-type": "classic"})
    assert _topology() == 1
    said = capsys.readouterr().err
    assert said.startswith("smsctl: queue sms.batches on the broker has x-")
    assert said.count("\n") == 1


def test_a_broker_that_cannot_be_reached_is_one_line_without_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMS_AMQP_URL", "amqp://user:made-up@127.0.0.1:1/")
    for options in ([], ["--check"]):
        assert _topology(*options) == 1
        said = capsys.readouterr().err
        assert said.startswith("smsctl: cannot reach the broker at 127.0.0.1:1/: ")
        assert "made-up" not in said
        assert said.count("\n") == 1
