"""`/openapi.json` and `/docs`, with everything that the page needs served from here."""

from pathlib import Path

import orjson
from aiohttp import web

from services.api.documents.openapi import build_openapi
from services.api.settings import ApiSettings

_STATIC = Path(__file__).parents[1] / "static"
_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "docs.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
# Swagger UI sets style attributes, and draws its icons from data: URLs.
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def documentation_routes(settings: ApiSettings) -> list[web.RouteDef]:
    """The routes; the document is built once."""
    document = orjson.dumps(build_openapi(settings))

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    async def docs(_request: web.Request) -> web.StreamResponse:
        return _file("docs.html", "text/html; charset=utf-8")

    async def static(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in _FILES:
            raise web.HTTPNotFound
        return _file(name, _FILES[name])

    return [web.get("/openapi.json", openapi), web.get("/docs", docs), web.get("/docs/{name}", static)]


def _file(name: str, content_type: str) -> web.StreamResponse:
    return web.FileResponse(_STATIC / name, headers={**_HEADERS, "Content-Type": content_type})
