"""`python -m services.api`: accept batches over HTTP, and show how they fare."""

import asyncio
from functools import partial

import structlog
from aiohttp import web

from services.api.app import Parts, build_app, build_parts
from services.api.settings import ApiSettings
from shared import lifecycle, logs
from shared.settings import load_or_exit

log = structlog.get_logger()


def main() -> None:
    """Settings, logs, run."""
    settings = load_or_exit(ApiSettings)
    logs.configure("api", settings.log_level)
    lifecycle.run(partial(serve, settings))


async def serve(settings: ApiSettings, stop: asyncio.Event) -> None:
    """Listen at once, connect in the background; at the stop finish the requests under way, then disconnect."""
    parts = build_parts(settings)
    # Of a body that was refused, two seconds more are read: time for the client to see the answer.
    runner = web.AppRunner(
        build_app(settings, parts, stop), access_log=None, lingering_time=2, shutdown_timeout=settings.drain_timeout_s
    )
    tasks = lifecycle.CriticalTasks()
    try:
        await _listen(runner, settings)
        tasks.start(parts.publisher.run(), "publisher")
        tasks.start(parts.declaring.run(), "declaring")
        tasks.start(parts.ledger.prepare(), "migration")
        await tasks.wait(stop)
    finally:
        stop.set()  # whatever the reason is: the event streams end
        await runner.cleanup()
        await tasks.cancel()
        await _close(parts)
    log.info("stopped")


async def _listen(runner: web.AppRunner, settings: ApiSettings) -> None:
    await runner.setup()
    await web.TCPSite(runner, settings.api_host, settings.api_port).start()
    log.info("listening", host=settings.api_host, port=runner.addresses[0][1])


async def _close(parts: Parts) -> None:
    await parts.cache.close()
    await parts.database.close()


if __name__ == "__main__":
    main()
