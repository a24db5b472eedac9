"""Infobip: many messages in a call, each with the id that the caller gives it."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from tools.simulator.behaviour import Behaviour, Plan
from tools.simulator.provider import Message, Provider, spoilt
from tools.simulator.vendors.reading import TOKEN, answer, pause_s, without_attempt

_MOST = 1000
_STATUSES: Mapping[Behaviour, tuple[int, str]] = {
    Behaviour.REFUSE: (10, "REJECTED_DND"),
    Behaviour.NO_BALANCE: (12, "REJECTED_NOT_ENOUGH_CREDITS"),
}
_WHOLE: Mapping[Behaviour, int] = {
    Behaviour.THROTTLE: 429,
    Behaviour.INTERNAL_ERROR: 500,
    Behaviour.UNAVAILABLE: 503,
    Behaviour.UNAUTHORIZED: 401,
    Behaviour.FORBIDDEN: 403,
    Behaviour.PROXY_REFUSES: 407,
    Behaviour.SPOIL: 400,
}


class Infobip:
    """Infobip's SMS API."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """A status for each message, or an error about the call."""
        if request.headers.get("Authorization") != f"App {TOKEN}":
            return _error(401, "Unauthorized")
        body = await request.read()
        given = _messages(body)
        if not given or len(given) > _MOST:
            return _error(400, "Bad request")
        messages = list(given.values())
        plans, message_ids = await self._provider.take(
            messages, tuple(_WHOLE), kind="infobip", words=list(given), url=_callback(body)
        )
        if (spoilt_all := spoilt(request, plans)) is not None:
            return spoilt_all
        whole = next((_WHOLE[plan.behaviour] for plan in plans if plan.behaviour in _WHOLE), None)
        if whole is not None:
            return _error(whole, "Not now", pause_s=pause_s(plans))
        entries = [
            {"messageId": id_, "destination": message.to, "status": _status(plan, message_id)}
            for (id_, message), plan, message_id in zip(given.items(), plans, message_ids, strict=True)
        ]
        return answer({"messages": entries})


def _error(status: int, words: str, pause_s: str | None = None) -> web.Response:
    content = {"description": words, "action": "Try again", "violations": [], "resources": []}
    return answer({"errorCode": f"E{status}", **content}, status, pause_s)


def _messages(body: bytes) -> dict[str, Message]:
    """The messages of a request by their ids, one for each destination; none where it is not one."""
    try:
        return {
            each["messageId"]: Message(
                reference=without_attempt(each["messageId"]), to=f"+{each['to']}", text=message["content"]["text"]
            )
            for message in orjson.loads(body)["messages"]
            for each in message["destinations"]
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _callback(body: bytes) -> str | None:
    """Where the receipts are to go, the same for all of a request; None where it does not say."""
    webhooks = orjson.loads(body)["messages"][0].get("webhooks") or {}
    url = webhooks.get("delivery", {}).get("url")
    return url if isinstance(url, str) else None


def _status(plan: Plan, message_id: str | None) -> dict[str, Any]:
    if message_id is not None:
        return {"groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED"}
    id_, name = _STATUSES[plan.behaviour]
    return {"groupId": 5, "groupName": "REJECTED", "id": id_, "name": name, "description": name.replace("_", " ")}
