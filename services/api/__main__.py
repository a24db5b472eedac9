"""`python -m services.api`: accept batches over HTTP, and show how they fare."""

import asyncio
from functools import partial

import structlog
from aiohttp import web

from services.api.app import Parts, build_app, build_parts
from services.api.settings import ApiSettings
from shared import lifecycle, logs
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
    # Of a body that was refused, two seconds more are read: time for the client to see the answer.
    # Nothing is inflated, not even what nobody reads: `intake.media_type` refuses it.
    runner = web.AppRunner(
        build_app(settings, parts, stop),
        access_log=None,
        auto_decompress=False,
        lingering_time=2,
        shutdown_timeout=_FORCED_AFTER_S,
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
        await _drain(runner, parts, settings.drain_timeout_s)
        await tasks.cancel()
        await _close(parts)
    log.info("stopped")


async def _listen(runner: web.AppRunner, settings: ApiSettings) -> None:
    await runner.setup()
    await web.TCPSite(runner, settings.api_host, settings.api_port).start()
    log.info("listening", host=settings.api_host, port=runner.addresses[0][1])


async def _drain(runner: web.AppRunner, parts: Parts, timeout_s: float) -> None:
    # aiohttp's own shutdown drops what still comes of a request's body; so it begins when none is under way.
    for site in list(runner.sites):
        await site.stop()
    await lifecycle.within(timeout_s, parts.in_flight.drained())
    await runner.cleanup()


async def _close(parts: Parts) -> None:
    await parts.cache.close()
    await parts.database.close()


if __name__ == "__main__":
    main()
