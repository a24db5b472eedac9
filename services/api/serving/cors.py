"""Cross-origin requests (the Fetch standard's CORS protocol) from configured origins, never with credentials."""

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

OnPrepare = Callable[[web.Request, web.StreamResponse], Awaitable[None]]

_EXPOSED = "Location, Retry-After, Link"
_TAKEN = (
    *("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"),
    # Not read here, but what pages of many frameworks send with every request.
    *("X-Requested-With", "X-CSRF-Token", "traceparent", "tracestate"),
)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": ", ".join(_TAKEN),
    "Access-Control-Max-Age": "600",
}


def cors_middleware(origins: Sequence[str]) -> Middleware:
    """Answer preflights, and mark every answer, errors too, for the origins that may read it."""

    @web.middleware
    async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is None or not _is_allowed(origin, origins):
            return await handler(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204, headers=_PREFLIGHT)
        return await handler(request)

    return cors


def mark_for_origin(origins: Sequence[str]) -> OnPrepare:
    """A signal handler that sets the headers just before they go out, on event streams as on everything else."""

    async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
        if not origins:
            return
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin is not None and _is_allowed(origin, origins):
            response.headers["Access-Control-Allow-Origin"] = "*" if "*" in origins else origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    return on_prepare


def _is_allowed(origin: str, origins: Sequence[str]) -> bool:
    return origin in origins or "*" in origins
