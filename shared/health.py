"""`/healthz`, `/readyz` and `/metrics`, the same on every service."""

from collections.abc import Callable, Mapping

import structlog
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

log = structlog.get_logger()

Check = Callable[[], bool | str]
"""True, or what is wrong where a word for it is known, or False."""


def add_health_routes(app: web.Application, checks: Mapping[str, Check]) -> None:
    """Serve liveness, readiness (503 until every check holds, with each one's answer and
    the reasons that are known) and Prometheus metrics."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        answers = {name: check() for name, check in checks.items()}
        holding = {name: answer is True for name, answer in answers.items()}
        ready = all(holding.values())
        reasons = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
        body = {
            "status": "ready" if ready else "not ready",
            "checks": holding,
            **({"reasons": reasons} if reasons else {}),
        }
        return web.json_response(body, status=200 if ready else 503)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", make_aiohttp_handler())


class HealthServer:
    """The health routes on a port of their own, for the services that serve nothing else."""

    def __init__(self, host: str, port: int, checks: Mapping[str, Check]) -> None:
        self._host, self._port = host, port
        app = web.Application()
        add_health_routes(app, checks)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Listen; port 0 takes a free one, which the log names."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        log.info("health_listening", host=self._host, port=self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()
