"""`python -m services.api`: accept batches over HTTP, and show how they fare."""

import asyncio
from contextlib import closing
from functools import partial
from typing import cast

import structlog
from aiohttp import web

from services.api.app import Parts, build_app, build_parts
from services.api.serving.connections import Door, file_limit, most_connections
from services.api.settings import ApiSettings
from shared import lifecycle, logs
from shared.running_tasks import RunningTasks
from shared.settings import load_or_exit

_FORCED_AFTER_S = 1

log = structlog.get_logger()


def main() -> None:
    """Settings, logs, run."""
    settings = load_or_exit(ApiSettings)
    logs.configure("api", settings.log_level)
    lifecycle.run(partial(serve, settings))


async def serve(settings: ApiSettings, stop: asyncio.Event) -> None:
    """Listen at once, connect in the background; at the stop finish the requests under way, then disconnect."""
    parts = build_parts(settings)
    runner = web.AppRunner(build_app(settings, parts, stop), shutdown_timeout=_FORCED_AFTER_S)
    tasks = RunningTasks()
    try:
        with closing(await _listen(runner, settings)):
            tasks.begin(parts.publisher.run(), "publisher")
            tasks.begin(parts.declaring.run(), "declaring")
            tasks.begin(parts.policies.run(), "policies")
            tasks.begin(_prepared(parts), "migration")
            tasks.begin(parts.clock.run(), "clock")
            await lifecycle.until_stopped(stop, tasks)
    finally:
        stop.set()  # whatever the reason is: the event streams end
        await _drain(runner, parts, settings.drain_timeout_s)
        await tasks.cancel()
        await _close(parts)
    log.info("stopped")


async def _prepared(parts: Parts) -> None:
    await parts.ledger.prepare()
    await parts.reloading.run()


async def _listen(runner: web.AppRunner, settings: ApiSettings) -> asyncio.Server:
    await runner.setup()
    most = most_connections(settings.api_max_connections, file_limit())
    listening = await Door(most).listen(cast(web.Server, runner.server), settings.api_host, settings.api_port)
    port = listening.sockets[0].getsockname()[1]
    log.info("listening", host=settings.api_host, port=port, max_connections=most)
    return listening


async def _drain(runner: web.AppRunner, parts: Parts, timeout_s: float) -> None:
    # aiohttp's own shutdown drops what still comes of a request's body; so it begins when none is under way.
    await lifecycle.within(timeout_s, parts.in_flight.drained())
    await runner.cleanup()


async def _close(parts: Parts) -> None:
    await parts.cache.close()
    await parts.database.close()


if __name__ == "__main__":
    main()
