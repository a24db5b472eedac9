"""How a service runs: its event loop, its signals, its exit status."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from shared.errors import SettingsError, SmsBatchError, TopologyMismatch
from shared.running_tasks import RunningTasks

try:
    import uvloop

    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:
    new_event_loop = asyncio.new_event_loop

log = structlog.get_logger()


def run(main: Callable[[asyncio.Event], Awaitable[None]], *, collect_after: int | None = None) -> None:
    """Run `main` with an event that SIGTERM or SIGINT sets; exit 0 when it returns, 1 with a line when it
    fails, 2 where a setting turns out to be wrong.

    `main` stops taking work once the event is set, drains what is in flight and returns. `collect_after` is how many
    objects are made between two looks for cycles among them, where Python's own 700 are too few.
    """
    _collect_garbage_in_lots(collect_after)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        status = runner.run(_supervised(main))
    sys.exit(status)


def _collect_garbage_in_lots(collect_after: int | None) -> None:
    """Keep the code that is loaded out of garbage collection; what is new is looked at in lots of the given size."""
    gc.collect()
    gc.freeze()
    if collect_after is not None:
        gc.set_threshold(collect_after)


async def _supervised(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Who has a file to read again listens to it later; until then it is read for the first time anyway.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await main(stop)
    except TopologyMismatch as error:
        log.critical("topology_mismatch", reason=str(error))
        return 1
    except SettingsError as error:
        # What showed only when it was used.
        log.critical("bad_settings", reason=str(error))
        return 2
    except (SmsBatchError, OSError) as error:
        log.critical("service_failed", reason=str(error), error=type(error).__name__)
        return 1
    except Exception:
        log.critical("service_crashed", exc_info=True)
        return 1
    return 0


async def stopped_within(stop: asyncio.Event, timeout_s: float) -> bool:
    """Sleep that a stop cuts short; True when it did."""
    try:
        async with asyncio.timeout(timeout_s):
            await stop.wait()
    except TimeoutError:
        return False
    return True


async def until_stopped(stop: asyncio.Event, tasks: RunningTasks) -> None:
    """Return when `stop` is set; raise what the first failed task raised: it brings the service down, so that nothing
    dies silently."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        either: list[asyncio.Future[Any]] = [stopping, tasks.failure]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if tasks.failure.done():
            tasks.failure.result()
    finally:
        stopping.cancel()


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work, unless a stop comes first; whether it was done."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    either: list[asyncio.Future[Any]] = [working, stopping]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    done = working.done()
    for task in either:
        task.cancel()
    if done:
        working.result()
    return done


async def within(timeout_s: float, drain: Awaitable[None]) -> None:
    """Wait for what is in flight; what the deadline cuts off is delivered again."""
    try:
        async with asyncio.timeout(timeout_s):
            await drain
    except TimeoutError:
        log.warning("drain_deadline_passed", timeout_s=timeout_s)
