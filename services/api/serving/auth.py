"""API keys: who may use the api, and whose idempotency keys are whose."""

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import SecretStr

from services.api.serving.peers import WrongKeys
from services.api.serving.problems import Problem
from services.api.settings import is_loopback
from shared.domain.ids import keyed_batch_id

PRINCIPAL = web.RequestKey("principal", str)
"""Whose request it is: a digest of the API key, or `anonymous`."""
_ANONYMOUS, _OWNER = "anonymous", "owner"
_KEY_ID_LENGTH = 8

_KEY_WANTED = "Send an API key: Authorization: Bearer …"
_STRANGER = "Without API keys, only this machine and the origins in SMS_CORS_ORIGINS may send"
_TRY_LATER = {"Retry-After": "1"}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sms-batch"'}


class KeyedIds:
    """The batch ids of idempotency keys. All API keys of a system are one owner's, so that a request sent again after a
    key was replaced is the same one."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self._earlier = (*(_digest(key.get_secret_value()) for key in keys), _ANONYMOUS)

    def current(self, idempotency_key: str, kind: str = "") -> str:
        """The id of what comes with this key; `kind` tells different sorts of requests apart."""
        return keyed_batch_id(f"{_OWNER}{kind}", idempotency_key)

    def earlier(self, idempotency_key: str, kind: str = "") -> tuple[str, ...]:
        """The ids that the version before gave it, which were one for each API key: such a batch may be there."""
        return tuple(keyed_batch_id(f"{principal}{kind}", idempotency_key) for principal in self._earlier)


def auth_middleware(keys: Sequence[SecretStr], origins: Sequence[str]) -> Middleware:
    """Let through, under `/v1` and at `/send-sms`, who knows one of the keys.

    Where there is none, everybody on this machine, but no web page that merely runs in a browser here: its origin has
    to be ours or one of `origins`.
    """
    digests = [_digest(key.get_secret_value()) for key in keys]
    wrong_keys = WrongKeys()

    def refusal(request: web.Request, detail: str) -> Problem:
        # Only who is refused is counted: whoever has a key is let in, whatever others behind its address try.
        if wrong_keys.are_too_many(request.remote or "", time.monotonic()):
            return Problem(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests without a right key", (), _TRY_LATER)
        return Problem(HTTPStatus.UNAUTHORIZED, detail, (), _CHALLENGE)

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[PRINCIPAL] = _ANONYMOUS
        if digests and is_protected(request.path):
            principal = _principal(request.headers.get("Authorization", ""), digests)
            if principal is None:
                raise refusal(request, _KEY_WANTED)
            request[PRINCIPAL] = principal
        elif is_protected(request.path) and (
            is_proxied(request.headers) or is_stranger(request.host, request.headers.get("Origin"), origins)
        ):
            raise refusal(request, _STRANGER)
        return await handler(request)

    return authenticate


def key_id(request: web.Request) -> str | None:
    """The first digits of the SHA-256 of the request's key: enough to tell keys apart. None without a right key."""
    principal = request.get(PRINCIPAL, _ANONYMOUS)
    return None if principal == _ANONYMOUS else principal[:_KEY_ID_LENGTH]


def is_protected(path: str) -> bool:
    """Whether a path needs a key; health, metrics and documentation are open, and vendors prove otherwise who
    they are."""
    if path.startswith(("/v1/receipts/", "/v1/inbound/")):
        return False
    return path.rstrip("/") == "/send-sms" or path == "/v1" or path.startswith("/v1/")


def is_proxied(headers: Mapping[str, str]) -> bool:
    """Whether a proxy passed the request on: whoever it is for is then not on this machine."""
    return any(name.lower() in ("forwarded", "via") or name.lower().startswith("x-forwarded-") for name in headers)


def is_stranger(host: str, origin: str | None, origins: Sequence[str]) -> bool:
    """Whether a request without a key comes from a page that we don't know.

    A form post needs no preflight, so the same-origin policy keeps such a page from the answer, not from the sending. A
    page that had its own name resolve to this machine (DNS rebinding) shows by its Host.
    """
    if not is_loopback(urlsplit(f"//{host}").hostname or ""):
        return True
    return origin is not None and origin != f"http://{host}" and origin not in origins and "*" not in origins


def _principal(authorization: str, digests: Sequence[str]) -> str | None:
    scheme, _, key = authorization.partition(" ")
    given = _digest(key.strip())
    # Every key is compared, in constant time, so that the time tells nothing about them.
    matches = [hmac.compare_digest(given, digest) for digest in digests]
    return given if scheme.lower() == "bearer" and any(matches) else None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
