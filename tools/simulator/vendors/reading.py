"""What the vendors' requests and answers have in common."""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from tools.simulator.behaviour import Behaviour, Plan
from tools.simulator.problems import JSON

TOKEN = "simulator"  # noqa: S105 - nobody's secret
E164 = re.compile(r"\+[1-9]\d{6,14}")


def basic(request: web.Request) -> tuple[str, str]:
    """User and password of Basic authentication; empty where there is none."""
    kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, secret = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (user, secret) if kind == "Basic" else ("", "")


def form(body: bytes) -> dict[str, str]:
    """The fields of a form."""
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def answer(content: Mapping[str, Any], status: int = 200, pause_s: str | None = None) -> web.Response:
    """An answer in JSON, which may ask for a pause."""
    headers = JSON if pause_s is None else {**JSON, "Retry-After": pause_s}
    return web.Response(status=status, body=orjson.dumps(content), headers=headers)


def bare(status: int, pause_s: str | None = None) -> web.Response:
    """What something before the API answers: a status, and no word of the vendor's."""
    return web.Response(status=status, headers={} if pause_s is None else {"Retry-After": pause_s})


def pause_s(plans: Sequence[Plan]) -> str | None:
    """The longest pause that any of them asks for."""
    pauses_s = [plan.retry_after_s for plan in plans if plan.behaviour in (Behaviour.THROTTLE, Behaviour.UNAVAILABLE)]
    return str(max(pauses_s)) if pauses_s else None


def reference_of(ours: str | None, vendor: str, to: str) -> str:
    """One for a number of a call that has one reference for all: of the same batch, if that tells one."""
    batch, colon, _ = (ours or "").partition(":")
    return f"{batch if colon else vendor}:{to}"


def without_attempt(word: str) -> str:
    """Our reference in a word of ours, `<batch>:<row>:<attempt>`."""
    return word.rpartition(":")[0] if word.count(":") == 2 else word
