"""How a service runs: until it is told to stop, or until a part of it fails."""

import asyncio
import os
import signal

import pytest
import structlog

from shared.errors import LedgerUnavailable, SettingsError, TopologyMismatch
from shared.lifecycle import run, stopped_within, until_stopped, within
from shared.running_tasks import RunningTasks

SOON_S = 20
"""Much longer than anything here takes: a deadline for what never comes."""


def exit_status_of(error: BaseException | None) -> tuple[object, list[str]]:
    async def main(_stop: asyncio.Event) -> None:
        if error is not None:
            raise error

    with structlog.testing.capture_logs() as logged, pytest.raises(SystemExit) as ended:
        run(main)
    return ended.value.code, [line["event"] for line in logged]


def test_a_service_that_returns_ends_with_status_0() -> None:
    assert exit_status_of(None) == (0, [])


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (TopologyMismatch("queue x differs"), "topology_mismatch"),
        (LedgerUnavailable("no database"), "service_failed"),
        (OSError("port in use"), "service_failed"),
    ],
)
def test_a_service_that_fails_says_why_and_ends_with_status_1(error: Exception, event: str) -> None:
    assert exit_status_of(error) == (1, [event])


def test_a_setting_that_turns_out_to_be_wrong_ends_a_service_with_status_2() -> None:
    assert exit_status_of(SettingsError("SMS_DATABASE_URL: no such certificate")) == (2, ["bad_settings"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_stop_event_and_the_service_ends_with_status_0(number: signal.Signals) -> None:
    async def main(stop: asyncio.Event) -> None:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(SOON_S):
            await stop.wait()

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == 0


async def test_a_sleep_is_cut_short_by_a_stop() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)
    assert await stopped_within(stop, SOON_S) is True


async def test_a_sleep_without_a_stop_ends_by_itself() -> None:
    assert await stopped_within(asyncio.Event(), 0.001) is False


async def test_waiting_for_tasks_ends_with_a_stop_and_leaves_them_running() -> None:
    tasks, stop, running = RunningTasks(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        running.set()
        await asyncio.Event().wait()

    tasks.begin(work(), "work")
    await running.wait()
    stop.set()
    await until_stopped(stop, tasks)
    assert "work" in {task.get_name() for task in asyncio.all_tasks()}
    await tasks.cancel()


async def test_the_first_task_that_fails_ends_the_waiting_with_its_error() -> None:
    tasks = RunningTasks()

    async def fail(error: Exception) -> None:
        raise error

    tasks.begin(fail(LedgerUnavailable("first")), "first")
    tasks.begin(fail(ValueError("second")), "second")
    async with asyncio.timeout(SOON_S):
        with pytest.raises(LedgerUnavailable, match="first"):
            await until_stopped(asyncio.Event(), tasks)


async def test_a_task_that_just_ends_brings_nothing_down() -> None:
    tasks, stop = RunningTasks(), asyncio.Event()
    tasks.begin(asyncio.sleep(0), "short")
    waiting = asyncio.create_task(until_stopped(stop, tasks))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    stop.set()
    await waiting


async def test_cancelling_waits_until_every_task_has_cleaned_up() -> None:
    tasks, cleaned, running = RunningTasks(), [], asyncio.Event()

    async def work() -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    tasks.begin(work(), "work")
    await running.wait()
    await tasks.cancel()
    assert cleaned == ["up"]


async def test_draining_waits_for_what_is_in_flight() -> None:
    done = []

    async def drain() -> None:
        await asyncio.sleep(0)
        done.append("all")

    await within(SOON_S, drain())
    assert done == ["all"]


async def test_a_drain_that_takes_too_long_is_cut_off_with_a_warning() -> None:
    with structlog.testing.capture_logs() as logged:
        await within(0.001, asyncio.Event().wait())  # type: ignore[arg-type]
    assert logged == [{"event": "drain_deadline_passed", "timeout_s": 0.001, "log_level": "warning"}]


def test_a_service_that_fails_in_a_way_that_nobody_thought_of_says_so_in_a_line_too() -> None:
    assert exit_status_of(RuntimeError("a bug")) == (1, ["service_crashed"])
