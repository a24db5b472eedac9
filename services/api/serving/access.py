"""One log line and one count per request; no paths, no query strings, no bodies, and of refusals only some lines."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from services.api.metrics import REQUEST_SECONDS, REQUESTS
from services.api.serving.auth import key_id
from shared.domain.ids import known_spelling
from shared.sampling import Sampled

BATCH_ID = web.RequestKey("batch_id", str)
"""Set where a request makes a batch, for its log line."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REFUSALS_A_SECOND = 20
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

log = structlog.get_logger()


class InFlight:
    """The requests that are being answered, so that a stop can wait for them."""

    def __init__(self) -> None:
        self._requests = 0
        self._none = asyncio.Event()
        self._none.set()

    async def drained(self) -> None:
        """Return when there is none."""
        await self._none.wait()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one for as long as the block lasts."""
        self._requests += 1
        self._none.clear()
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._none.set()


def sampled_refusals() -> Sampled:
    """Which requests of those that were refused have a line of their own, by status."""
    return Sampled(_REFUSALS_A_SECOND, lambda status, more: log.info("requests_refused_more", status=status, more=more))


def access_middleware(in_flight: InFlight, refusals: Sampled) -> Middleware:
    """Log and count what the handlers below answer."""

    @web.middleware
    async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun_s = time.perf_counter()
        status = 499  # nginx's number for a client that went before its answer
        with in_flight.one():
            try:
                response = await handler(request)
                status = response.status
                return response
            except web.HTTPException as error:
                status = error.status
                raise
            finally:
                _note(request, status, time.perf_counter() - begun_s, refusals)

    return access


def _note(request: web.Request, status: int, seconds: float, refusals: Sampled) -> None:
    route = route_of(request)
    REQUESTS.labels(route, request.method if request.method in _METHODS else "other", status).inc()
    REQUEST_SECONDS.labels(route).observe(seconds)
    if 400 <= status < 499 and not refusals.admits(str(status)):
        return
    note = log.debug if route in _QUIET else log.info
    note(
        "request",
        method=request.method,
        route=route,
        batch_id=request.get(BATCH_ID) or known_spelling(request.match_info.get("batch_id", "")),
        status=status,
        duration_ms=round(seconds * 1000, 1),
        bytes_in=request.content_length,
        client=request.remote,
        key_id=key_id(request),
    )


def route_of(request: web.Request) -> str:
    """The route's pattern, so that there are as many labels as routes."""
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical
