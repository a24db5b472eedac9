"""API keys: who may use the api, and whose idempotency keys are whose."""

import hashlib
import hmac
from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import SecretStr

from services.api.problems import Problem

ANONYMOUS = "anonymous"
PRINCIPAL = web.RequestKey("principal", str)
"""Whose request it is: a digest of the API key, or `anonymous`."""

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sms-batch"'}


def auth_middleware(keys: Sequence[SecretStr]) -> Middleware:
    """Let through, under `/v1` and at `/send-sms`, who knows one of the keys; everybody where there is none."""
    digests = [_digest(key.get_secret_value()) for key in keys]

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[PRINCIPAL] = ANONYMOUS
        if digests and is_protected(request.path):
            request[PRINCIPAL] = _principal(request.headers.get("Authorization", ""), digests)
        return await handler(request)

    return authenticate


def is_protected(path: str) -> bool:
    """Whether a path needs a key; health, metrics and documentation are open."""
    return path == "/send-sms" or path == "/v1" or path.startswith("/v1/")


def _principal(authorization: str, digests: Sequence[str]) -> str:
    scheme, _, key = authorization.partition(" ")
    given = _digest(key.strip())
    # Every key is compared, in constant time, so that the time tells nothing about them.
    matches = [hmac.compare_digest(given, digest) for digest in digests]
    if scheme.lower() != "bearer" or not any(matches):
        raise Problem(HTTPStatus.UNAUTHORIZED, "Send an API key: Authorization: Bearer …", (), _CHALLENGE)
    return given


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
