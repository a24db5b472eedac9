"""Starts the simulator: settings, listen, say where, stop at SIGTERM or SIGINT."""

import asyncio
import signal
import sys

from aiohttp import web
from pydantic import ValidationError
from yarl import URL

from tools.simulator.app import build_app
from tools.simulator.settings import Settings

# Late answers are given up at the end; this is for answers that are just being written.
SHUTDOWN_TIMEOUT_S = 0.5


async def serve(settings: Settings) -> None:
    """Serve until a signal ends it; OSError if it cannot listen."""
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    runner = web.AppRunner(
        build_app(settings.late_s), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_TIMEOUT_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
        print(_ready_line(URL.build(scheme="http", host=settings.host, port=runner.addresses[0][1])), flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def _ready_line(base: URL) -> str:
    return f"simulator ready: provider {base / 'messages'}, behaviour {base / 'behaviour'}, calls {base / 'calls'}"


def _read_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as problem:
        wrong = "; ".join(
            f"SMS_SIMULATOR_{str(item['loc'][0]).upper()}={item['input']!r}: {item['msg']}" for item in problem.errors()
        )
        print(f"simulator: bad settings: {wrong}", file=sys.stderr)
        raise SystemExit(2) from None


def main() -> None:
    """Run the simulator; exit status 0 after a signal, 1 when it cannot listen, 2 for bad settings."""
    settings = _read_settings()
    try:
        # Not on uvloop, which takes one new connection in a round of its loop: while senders keep the old ones busy,
        # new ones would have no answer for seconds.
        asyncio.run(serve(settings))
    except OSError as problem:
        print(
            f"simulator: cannot listen on {settings.host}:{settings.port}: {problem.strerror or problem}",
            file=sys.stderr,
        )
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
