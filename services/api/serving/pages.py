"""Answers in JSON; query parameters of the lists, and the cursors that lead from page to page."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web
from yarl import URL

from services.api.batches.views import Shown
from services.api.serving.problems import Flaw, invalid


def limit(query: Mapping[str, str], default: int, greatest: int) -> int:
    """How many items a page may have."""
    text = query.get("limit", str(default))
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= greatest:
        return int(text)
    raise invalid(Flaw("/limit", f"limit must be a whole number from 1 to {greatest}"))


def cursor(query: Mapping[str, str], *types: type) -> tuple[Any, ...] | None:
    """The position in a cursor that `next_cursor` made, with values of these types; None for the first page."""
    text = query.get("cursor")
    if text is None:
        return None
    try:
        position = orjson.loads(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        position = None
    if not isinstance(position, list) or [type(value) for value in position] != list(types):
        raise invalid(Flaw("/cursor", "cursor must be a next_cursor of this list"))
    return tuple(position)


def next_cursor(*position: int | str) -> str:
    """A position as an opaque text."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode()


def document(shown: Shown) -> web.Response:
    """One object as the answer."""
    return web.Response(body=orjson.dumps(shown), content_type="application/json")


def page(request: web.Request, name: str, items: list[Any], following: str | None) -> web.Response:
    """A page of a list, with the way to the next one in its body and in a Link header (RFC 8288)."""
    headers = {}
    if following is not None:
        target = URL(request.path).with_query({**request.query, "cursor": following})
        headers["Link"] = f'<{target}>; rel="next"'
    body = orjson.dumps({name: items, "next_cursor": following})
    return web.Response(body=body, content_type="application/json", headers=headers)
