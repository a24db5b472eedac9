"""The vendors' APIs beside the plain one: the same numbers and behaviours, in the vendors' own words.

Credentials are as strict as theirs: user and password, or key, are those of `TOKEN`.
"""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from tools.simulator.behaviour import Behaviour, Plan
from tools.simulator.problems import JSON
from tools.simulator.provider import Message, Provider, spoilt

TOKEN = "simulator"  # noqa: S105 - nobody's secret
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_LONGEST_TWILIO_TEXT = 1600
_MOST_INFOBIP = 1000

_TWILIO: Mapping[Behaviour, tuple[int, int, str]] = {
    Behaviour.THROTTLE: (429, 20429, "Too Many Requests"),
    Behaviour.INTERNAL_ERROR: (500, 20500, "Internal Server Error"),
    Behaviour.UNAVAILABLE: (503, 20503, "Service Unavailable"),
    Behaviour.UNAUTHORIZED: (401, 20003, "Authenticate"),
    Behaviour.NO_BALANCE: (403, 20005, "Account not active"),
    Behaviour.FORBIDDEN: (403, 20003, "Permission Denied"),
    Behaviour.PROXY_REFUSES: (407, 20003, "Proxy Authentication Required"),
    Behaviour.REFUSE: (400, 21610, "Attempt to send to unsubscribed recipient"),
    Behaviour.SPOIL: (400, 21614, "'To' number is not a valid mobile number"),
}
_VONAGE: Mapping[Behaviour, tuple[str, str]] = {
    Behaviour.THROTTLE: ("1", "Throughput Rate Exceeded - please wait [ 1000 ] and retry"),
    Behaviour.INTERNAL_ERROR: ("5", "Internal Error"),
    Behaviour.UNAUTHORIZED: ("4", "Bad Credentials"),
    Behaviour.NO_BALANCE: ("9", "Partner quota exceeded"),
    Behaviour.FORBIDDEN: ("8", "Account barred"),
    Behaviour.PROXY_REFUSES: ("11", "Not enabled for HTTP"),
    Behaviour.REFUSE: ("7", "Number barred"),
    Behaviour.SPOIL: ("6", "The message is not valid"),
}
_INFOBIP: Mapping[Behaviour, tuple[int, str]] = {
    Behaviour.REFUSE: (10, "REJECTED_DND"),
    Behaviour.NO_BALANCE: (12, "REJECTED_NOT_ENOUGH_CREDITS"),
}
_INFOBIP_WHOLE: Mapping[Behaviour, int] = {
    Behaviour.THROTTLE: 429,
    Behaviour.INTERNAL_ERROR: 500,
    Behaviour.UNAVAILABLE: 503,
    Behaviour.UNAUTHORIZED: 401,
    Behaviour.FORBIDDEN: 403,
    Behaviour.PROXY_REFUSES: 407,
    Behaviour.SPOIL: 400,
}


class Vendors:
    """Answers as Twilio, Vonage and Infobip do."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def routes(self) -> list[web.RouteDef]:
        """A route for each."""
        return [
            web.post("/2010-04-01/Accounts/{sid}/Messages.json", self.twilio),
            web.post("/sms/json", self.vonage),
            web.post("/sms/3/messages", self.infobip),
        ]

    async def twilio(self, request: web.Request) -> web.StreamResponse:
        """One message, in a form; Twilio knows no reference, so the number stands for one."""
        user, secret = _basic(request)
        if secret != TOKEN or not user.startswith(("AC", "SK")):
            return _twilio(401, 20003, "Authenticate")
        fields = _form(await request.read())
        if (wrong := _wrong_for_twilio(fields)) is not None:
            return _twilio(400, *wrong)
        message = Message(reference=f"twilio:{fields['To']}", to=fields["To"], text=fields["Body"])
        (plan,), (message_id,) = await self._provider.take([message])
        if (spoilt_one := spoilt(request, [plan])) is not None:
            return spoilt_one
        if message_id is None:
            return _twilio(*_TWILIO[plan.behaviour], pause_s=_pause_s([plan]))
        content = {"sid": f"SM{message_id}", "status": "queued", "error_code": None, "to": fields["To"]}
        return web.Response(status=201, body=orjson.dumps(content), headers=JSON)

    async def vonage(self, request: web.Request) -> web.StreamResponse:
        """One message, in a form; nearly every answer is a 200."""
        fields = _form(await request.read())
        if _basic(request)[1] != TOKEN:
            return _vonage("4", "Bad Credentials")
        missing = [name for name in ("to", "from", "text") if not fields.get(name)]
        if missing:
            return _vonage("2", f"Missing {missing[0]}")
        number = f"+{fields['to']}"
        if not _E164.fullmatch(number):
            return _vonage("3", "Invalid to")
        reference = fields.get("client-ref") or f"vonage:{number}"
        (plan,), (message_id,) = await self._provider.take(
            [Message(reference=reference, to=number, text=fields["text"])]
        )
        if (spoilt_one := spoilt(request, [plan])) is not None:
            return spoilt_one
        if plan.behaviour is Behaviour.UNAVAILABLE:
            return web.Response(status=503, headers={"Retry-After": _pause_s([plan]) or "1"})
        if message_id is None:
            return _vonage(*_VONAGE[plan.behaviour])
        part = {"to": fields["to"], "message-id": message_id, "status": "0", "client-ref": reference}
        return web.Response(body=orjson.dumps({"message-count": "1", "messages": [part]}), headers=JSON)

    async def infobip(self, request: web.Request) -> web.StreamResponse:
        """Many messages, each with the id that the caller gives it."""
        if request.headers.get("Authorization") != f"App {TOKEN}":
            return _infobip(401, "E401", "Unauthorized")
        given = _infobip_messages(await request.read())
        if not given or len(given) > _MOST_INFOBIP:
            return _infobip(400, "E400", "Bad request")
        messages = list(given.values())
        plans, message_ids = await self._provider.take(messages)
        if (spoilt_all := spoilt(request, plans)) is not None:
            return spoilt_all
        whole = {_INFOBIP_WHOLE.get(plan.behaviour) for plan in plans} - {None}
        if whole:
            status = max(status for status in whole if status is not None)
            return _infobip(status, f"E{status}", "Not now", pause_s=_pause_s(plans))
        entries = [
            {"messageId": id_, "destination": message.to, "status": _status(plan, message_id)}
            for (id_, message), plan, message_id in zip(given.items(), plans, message_ids, strict=True)
        ]
        return web.Response(body=orjson.dumps({"messages": entries}), headers=JSON)


def _basic(request: web.Request) -> tuple[str, str]:
    kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, secret = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (user, secret) if kind == "Basic" else ("", "")


def _form(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def _wrong_for_twilio(fields: Mapping[str, str]) -> tuple[int, str] | None:
    if not _E164.fullmatch(fields.get("To", "")):
        return 21211, "Invalid 'To' Phone Number"
    if not (fields.get("From") or fields.get("MessagingServiceSid")):
        return 21603, "A 'From' phone number is required"
    if not fields.get("Body"):
        return 21602, "Message body is required"
    if len(fields["Body"]) > _LONGEST_TWILIO_TEXT:
        return 21617, "The concatenated message body exceeds the 1600 character limit"
    return None


def _twilio(status: int, code: int, words: str, pause_s: str | None = None) -> web.Response:
    content = {"code": code, "message": words, "more_info": f"https://www.twilio.com/docs/errors/{code}"}
    headers = JSON if pause_s is None else {**JSON, "Retry-After": pause_s}
    return web.Response(status=status, body=orjson.dumps({**content, "status": status}), headers=headers)


def _vonage(status: str, words: str) -> web.Response:
    parts = [{"status": status, "error-text": words}]
    return web.Response(body=orjson.dumps({"message-count": "1", "messages": parts}), headers=JSON)


def _infobip(status: int, code: str, words: str, pause_s: str | None = None) -> web.Response:
    content = {"errorCode": code, "description": words, "action": "Try again", "violations": [], "resources": []}
    headers = JSON if pause_s is None else {**JSON, "Retry-After": pause_s}
    return web.Response(status=status, body=orjson.dumps(content), headers=headers)


def _infobip_messages(body: bytes) -> dict[str, Message]:
    """The messages of a request by their ids, one for each destination; none where it is not one."""
    try:
        return {
            each["messageId"]: Message(
                reference=_without_attempt(each["messageId"]), to=f"+{each['to']}", text=message["content"]["text"]
            )
            for message in orjson.loads(body)["messages"]
            for each in message["destinations"]
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _without_attempt(message_id: str) -> str:
    """Our reference in an id of ours, `<batch>:<row>:<attempt>`."""
    return message_id.rpartition(":")[0] if message_id.count(":") == 2 else message_id


def _status(plan: Plan, message_id: str | None) -> dict[str, Any]:
    if message_id is not None:
        return {"groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED"}
    id_, name = _INFOBIP[plan.behaviour]
    return {"groupId": 5, "groupName": "REJECTED", "id": id_, "name": name, "description": name.replace("_", " ")}


def _pause_s(plans: Sequence[Plan]) -> str | None:
    pauses_s = [plan.retry_after_s for plan in plans if plan.behaviour in (Behaviour.THROTTLE, Behaviour.UNAVAILABLE)]
    return str(max(pauses_s)) if pauses_s else None
