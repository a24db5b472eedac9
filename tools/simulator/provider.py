"""The provider's side of the contract: reads a message, records the call and answers as the plan says."""

import asyncio
import socket
import struct
import time

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tools.simulator.behaviour import Behaviour, Call, DefaultBehaviour, Plan, decide
from tools.simulator.calls import CallLog
from tools.simulator.problems import JSON, error, first_problem

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_REJECTIONS = {
    Behaviour.THROTTLE: (429, "throttled", "Too many messages, try again later."),
    Behaviour.INTERNAL_ERROR: (500, "internal_error", "Something went wrong."),
    Behaviour.UNAVAILABLE: (503, "unavailable", "The service is down for the moment."),
    Behaviour.REFUSE: (400, "number_unreachable", "The number cannot receive messages."),
}


class Message(BaseModel):
    """What a sender posts: our reference, the number in E.164, the text; other members are ignored."""

    model_config = ConfigDict(strict=True)

    reference: str = Field(min_length=1)
    to: str = Field(min_length=1)
    text: str


class Provider:
    """Answers `POST /messages`; `behaviour` may be replaced at any time and holds for the next call."""

    def __init__(self, calls: CallLog, late_s: float) -> None:
        self.behaviour = DefaultBehaviour()
        self._calls = calls
        self._late_s = late_s

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """2xx with a message id, or what the number or the behaviour asks for; 400 for what is no message."""
        try:
            message = Message.model_validate_json(await request.read())
        except ValidationError as problem:
            return error(400, "bad_request", first_problem(problem))
        plan = self._plan(message)
        message_id = self._calls.add(message.reference, message.to, message.text, time.time(), plan.behaviour)
        if plan.delay_s:
            await asyncio.sleep(plan.delay_s)
        return _answer(request, plan, message_id)

    def _plan(self, message: Message) -> Plan:
        call = Call(message.reference, message.to, self._calls.calls_of(message.reference))
        return decide(call, self.behaviour, self._late_s)


def _answer(request: web.Request, plan: Plan, message_id: str | None) -> web.StreamResponse:
    if plan.behaviour is Behaviour.ACCEPT_RESET:
        return _reset(request)
    if plan.behaviour is Behaviour.GARBAGE:
        return web.Response(body=b"<html><body>It works!</body></html>", content_type="text/html")
    if message_id is not None:
        return web.Response(body=orjson.dumps({"message_id": message_id}), headers=JSON)
    status, code, text = _REJECTIONS[plan.behaviour]
    response = error(status, code, text)
    if plan.behaviour is Behaviour.THROTTLE:
        response.headers["Retry-After"] = str(plan.retry_after_s)
    return response


def _reset(request: web.Request) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        # Without a linger time of zero the kernel closes in good order (FIN), and the caller sees no reset.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()
