"""Vonage: one message in a form, with a password or signed; nearly every answer is a 200."""

import re
from collections.abc import Mapping
from hashlib import md5
from hmac import compare_digest, new

from aiohttp import web

from tools.simulator.behaviour import Behaviour
from tools.simulator.provider import Message, Provider, spoilt
from tools.simulator.vendors.reading import E164, TOKEN, answer, bare, basic, form, pause_s, without_attempt

_ERRORS: Mapping[Behaviour, tuple[str, str]] = {
    Behaviour.THROTTLE: ("1", "Throughput Rate Exceeded - please wait [ 1000 ] and retry"),
    Behaviour.INTERNAL_ERROR: ("5", "Internal Error"),
    Behaviour.UNAUTHORIZED: ("4", "Bad Credentials"),
    Behaviour.NO_BALANCE: ("9", "Partner quota exceeded"),
    Behaviour.FORBIDDEN: ("8", "Account barred"),
    Behaviour.PROXY_REFUSES: ("11", "Not enabled for HTTP"),
    Behaviour.REFUSE: ("7", "Number barred"),
    Behaviour.SPOIL: ("6", "The message is not valid"),
}
_HASHES = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""By the digits of a signature: which one an account's is, is in its settings."""


class Vonage:
    """Vonage's SMS API."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """A part with an id, or with a status."""
        fields = form(await request.read())
        if (wrong := _not_let_in(request, fields) or _wrong(fields)) is not None:
            return _error(*wrong)
        number = f"+{fields['to']}"
        word = fields.get("client-ref") or f"vonage:{number}"
        reference = without_attempt(word)
        message = Message(reference=reference, to=number, text=fields["text"])
        (plan,), (message_id,) = await self._provider.take(
            [message], kind="vonage", words=[word], url=fields.get("callback")
        )
        if (spoilt_one := spoilt(request, [plan])) is not None:
            return spoilt_one
        if plan.behaviour is Behaviour.UNAVAILABLE:
            return bare(503, pause_s([plan]))
        if message_id is None:
            return _error(*_ERRORS[plan.behaviour])
        part = {"to": fields["to"], "message-id": message_id, "status": "0", "client-ref": word}
        return answer({"message-count": "1", "messages": [part]})


def _not_let_in(request: web.Request, fields: Mapping[str, str]) -> tuple[str, str] | None:
    secret = basic(request)[1] or fields.get("api_secret", "")
    if (signature := fields.get("sig")) is None:
        return None if secret == TOKEN else ("4", "Bad Credentials")
    if secret:
        return "32", "Signature And API Secret Disallowed"
    is_ours = any(compare_digest(signature.lower().encode(), each.encode()) for each in _signatures(fields))
    return None if is_ours and fields.get("timestamp", "").isdigit() else ("14", "Invalid Signature")


def _signatures(fields: Mapping[str, str]) -> list[str]:
    pairs = sorted((name, re.sub("[&=]", "_", value)) for name, value in fields.items() if name != "sig")
    text = "".join(f"&{name}={value}" for name, value in pairs)
    hash_name = _HASHES.get(len(fields["sig"]), "sha256")
    plain = md5(f"{text}{TOKEN}".encode(), usedforsecurity=False).hexdigest()
    return [plain, new(TOKEN.encode(), text.encode(), hash_name).hexdigest()]


def _wrong(fields: Mapping[str, str]) -> tuple[str, str] | None:
    missing = [name for name in ("to", "from", "text") if not fields.get(name)]
    if missing:
        return "2", f"Missing {missing[0]}"
    return None if E164.fullmatch(f"+{fields['to']}") else ("3", "Invalid to")


def _error(status: str, words: str) -> web.Response:
    return answer({"message-count": "1", "messages": [{"status": status, "error-text": words}]})
