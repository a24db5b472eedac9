"""deploy/: the alerts do what they say, and they and the dashboard ask for metrics that are really there."""

import importlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from shared.domain.states import State
from shared.topology import Lane, build_topology
from tests.support.brokers import Broker
from tests.support.promtool import ROOT, promtool

PROMETHEUS, GRAFANA = ROOT / "deploy/prometheus", ROOT / "deploy/grafana"
DASHBOARD = json.loads((GRAFANA / "sms-batch.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"][0]["rules"]
SCRAPED = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
RUNBOOK = ROOT / "docs/runbook.md"

_METRIC = re.compile(r"\b(?:sms|rabbitmq)_\w+")
_LABEL = re.compile(r'\b(queue|lane|state|job)(?:=|=~|!~)"([^"]+)"')
_ANCHOR = re.compile(r"docs/runbook\.md#([\w-]+)")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without the rows that group them."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def queries() -> list[str]:
    """Every expression of the alerts and of the dashboard."""
    return [*(rule["expr"] for rule in RULES), *dashboard_queries()]


def asked_for(prefix: str) -> set[str]:
    """The metrics that the expressions name."""
    return {name for query in queries() for name in _METRIC.findall(query) if name.startswith(prefix)}


def names(families: Iterator[Any]) -> set[str]:
    """The names under which these metrics have values, also of those that have none yet."""
    return {family.name + suffix for family in families for suffix in _SUFFIXES.get(family.type, ("",))}


def test_prometheus_takes_the_configuration_and_its_rules() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_what_prometheus_looks_for_are_services_of_the_compose_file() -> None:
    there = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    looked_for = {name for job in SCRAPED for found in job["dns_sd_configs"] for name in found["names"]}
    assert looked_for == {"api", "dispatcher", "sender", "rabbitmq"}
    assert looked_for <= set(there)


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", PROMETHEUS / "rules_test.yml")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_seen_to_fire_and_seen_not_to(rule: dict[str, Any]) -> None:
    cases = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    looks = [look for case in cases for look in case["alert_rule_test"] if look["alertname"] == rule["alert"]]
    assert {bool(look.get("exp_alerts")) for look in looks} == {True, False}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_what_it_means_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].count(". ") >= 1
    assert len(_ANCHOR.findall(rule["annotations"]["description"])) == 1


def test_what_an_alert_points_at_is_in_the_runbook() -> None:
    text = RUNBOOK.read_text()
    headings = {re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in re.findall(r"(?m)^#+ (.+)$", text)}
    anchors = {heading.replace(" ", "-") for heading in headings} | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    assert {anchor for rule in RULES for anchor in _ANCHOR.findall(rule["annotations"]["description"])} <= anchors


def test_every_metric_of_ours_that_is_asked_for_exists() -> None:
    for module in ("services.api.metrics", "services.dispatcher.metrics", "services.sender.metrics"):
        importlib.import_module(module)
    importlib.import_module("shared.ledger.waiting")
    exposed = names(iter(prometheus_client.REGISTRY.collect()))
    assert len(asked_for("sms_")) > 20
    assert asked_for("sms_") <= exposed


@pytest.mark.parametrize("kind", ["container", "node"])
def test_every_metric_of_rabbitmq_that_is_asked_for_exists(kind: str, shared_server: Callable[[str], Any]) -> None:
    broker = shared_server(kind)
    assert isinstance(broker, Broker)
    exposed = names(text_string_to_metric_families(requests.get(broker.metrics_url, timeout=30).text))
    assert asked_for("rabbitmq_")
    assert asked_for("rabbitmq_") <= exposed


def test_every_queue_lane_state_and_job_that_is_asked_for_exists() -> None:
    known = {
        "queue": {queue.name for queue in build_topology([5]).queues},
        "lane": set(Lane),
        "state": set(State),
        "job": {job["job_name"] for job in SCRAPED},
    }
    selected = [match for query in queries() for match in _LABEL.findall(query)]
    assert {label for label, _pattern in selected} == set(known)
    for label, pattern in selected:
        found = [value for value in known[label] if re.fullmatch(pattern, value)]
        assert len(found) >= pattern.count("|") + 1, f'{label}="{pattern}"'


def test_every_panel_has_a_title_a_meaning_and_something_to_show() -> None:
    assert len(panels()) > 20
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in panels())
    assert all(query.strip() for query in dashboard_queries())
    assert all(target["datasource"]["uid"] == "${datasource}" for panel in panels() for target in panel["targets"])


def test_no_two_panels_have_one_id_or_one_place() -> None:
    ids = Counter(panel["id"] for panel in DASHBOARD["panels"])
    assert max(ids.values()) == 1
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, f"{one} and {other}"
        assert max(one["x"] + one["w"], other["x"] + other["w"]) <= 24


def test_prometheus_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"dashboard:query_{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(dashboard_queries())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
