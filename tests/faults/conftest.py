"""The fault suite: which scenarios run, on which brokers, and the table of what came of them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Start
from tests.faults import versions
from tests.faults.auditing import audited
from tests.faults.conservation import Tally, tally
from tests.faults.table import Line, table
from tests.support.machine import has_docker
from tests.support.own_broker import KINDS, OwnBroker, default_vhost, own_broker
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import FINAL, TIERS_S, Trio

_HERE = Path(__file__).parent
_PROPERTY = "fault"
_RUNS: list[Line] = []


class FaultRun:
    """One run of one scenario, with the check that every run ends with; `line` is what the table says of it."""

    def __init__(self, line: Line, longest_wait_s: float | None) -> None:
        self.line, self.longest_wait_s = line, longest_wait_s
        self.began_at_s = time.monotonic()

    def conserved(
        self,
        trio: Trio,
        batch_ids: Sequence[str],
        *,
        timeout_s: float = 180,
        may_repeat: bool = False,
        strict: bool = True,
    ) -> Tally:
        """Wait for the batches to finish, then hold ledger, provider and queues against each other, here and by
        `smsctl audit`.

        What is not final at the deadline is counted as lost. Not `strict`: letters may be missing or stale.
        """
        assert batch_ids
        unfinished = _unfinished(trio, batch_ids, self.longest_wait_s or timeout_s)
        found = tally(trio, batch_ids, may_repeat=may_repeat)
        self.line.seen.add(found)
        self.line.versions.update(versions.seen(trio))
        assert (found.lost, found.sent_twice, found.flaws, unfinished) == (0, 0, [], {})
        status, said = audited(trio, batch_ids, strict=strict)
        assert status == 0, said
        return found


def _unfinished(trio: Trio, batch_ids: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """Those that have not finished after a wait, each with its counts."""

    def look() -> dict[str, Any]:
        found = {batch_id: trio.batch(batch_id) for batch_id in batch_ids}
        return {batch_id: batch["counts"] for batch_id, batch in found.items() if not _has_ended(batch)}

    with suppress(AssertionError):
        eventually(lambda: not look(), timeout_s, 0.2)
    return look()


def _has_ended(batch: dict[str, Any]) -> bool:
    live = {state for state, number in batch["counts"].items() if number} - FINAL
    return batch["status"] in ("finished", "cancelled") and not live


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--all-faults` only the quick scenarios run, each on one broker (with `--matrix` on both, and those too
    that are `quick(only_matrix=True)`, for another test shows the same): `make faults` runs all of them."""
    others = {item for item in items if _HERE in item.path.parents and not _is_chosen(config, item)}
    if others:
        config.hook.pytest_deselected(items=list(others))
        items[:] = [item for item in items if item not in others]


def _is_chosen(config: pytest.Config, item: pytest.Item) -> bool:
    every = config.getoption("--all-faults")
    numbers, scenario = config.getoption("--scenario"), item.get_closest_marker("scenario")
    if numbers and (scenario is None or scenario.args[0] not in numbers):
        return False
    one_broker = config.getoption("--first-broker") or not (every or config.getoption("--matrix"))
    first = KINDS[0] if has_docker() else KINDS[1]
    quick = _is_quick(item, matrix=config.getoption("--matrix"))
    return (every or quick) and (not one_broker or _kind(item) in (None, first))


def _is_quick(item: pytest.Item, *, matrix: bool) -> bool:
    marker = item.get_closest_marker("quick")
    return marker is not None and (matrix or not marker.kwargs.get("only_matrix"))


def _kind(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec else {}
    return next((parameters[name] for name in ("own_broker_of_each_kind", "each_vhost") if name in parameters), None)


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[FaultRun]:
    """This run's line of the table."""
    marker = request.node.get_closest_marker("scenario")
    assert marker is not None, "a fault test names its scenario: @pytest.mark.scenario(3, 'title')"
    line = Line(marker.args[0], marker.args[1], _kind(request.node) or "-")
    run = FaultRun(line, request.config.getoption("--finish-within"))
    yield run
    line.seconds = time.monotonic() - run.began_at_s
    line.passed = getattr(request.node, "call_passed", False)
    request.node.user_properties.append((_PROPERTY, asdict(line)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.call_passed = report.passed  # type: ignore[attr-defined]
    return report


@pytest.fixture(params=KINDS)
def own_broker_of_each_kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnBroker]:
    with own_broker(request.param, tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def settings(postgres_url: str, simulator: ServiceProcess) -> dict[str, str]:
    """The services' settings but for the broker: short tiers, so that faults pass quickly.

    Recovery comes too late to help: only where messages really are gone may a scenario need it, and sets it.
    """
    return {
        "SMS_DATABASE_URL": postgres_url,
        "SMS_PROVIDER_URL": f"{simulator.url}/messages",
        "SMS_PROVIDER_TIMEOUT_S": "1.5",
        "SMS_RETRY_TIERS_S": TIERS_S,
        "SMS_MAX_ATTEMPTS": "4",
        "SMS_RECOVER_AFTER_S": "600",
    }


RECOVERS_SOON = {"SMS_RECOVER_AFTER_S": "5"}


def trio_on(broker: OwnBroker, simulator: ServiceProcess, settings: dict[str, str], start: Start) -> Trio:
    """The services on a broker of their own, not started yet."""
    vhost = default_vhost(broker)
    return Trio(vhost, simulator, {**settings, "SMS_AMQP_URL": vhost.amqp_url}, start)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Lines come with the report of a test's end, from whichever process ran it."""
    if report.when == "teardown":
        _RUNS.extend(Line.read(value) for name, value in report.user_properties if name == _PROPERTY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _RUNS:
        return
    lines = table(_RUNS)
    terminalreporter.section("faults")
    for line in lines:
        terminalreporter.write_line(line)
    if file := terminalreporter.config.getoption("--faults-table"):
        Path(file).write_text("\n".join([*lines, "", versions.sentence(_RUNS)]) + "\n")
