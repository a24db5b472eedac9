"""The provider's side of the contract: reads one message or several, records the calls and answers as the plans say."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Sequence

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tools.simulator.behaviour import Behaviour, Call, DefaultBehaviour, Plan, decide, together
from tools.simulator.calls import CallLog
from tools.simulator.problems import JSON, error, first_problem
from tools.simulator.receipts import Receipts, Told

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_REJECTIONS = {
    Behaviour.THROTTLE: (429, "throttled", "Too many messages, try again later."),
    Behaviour.INTERNAL_ERROR: (500, "internal_error", "Something went wrong."),
    Behaviour.UNAVAILABLE: (503, "unavailable", "The service is down for the moment."),
    Behaviour.UNAUTHORIZED: (401, "key_revoked", "This key is not valid any more."),
    Behaviour.NO_BALANCE: (402, "no_balance", "The balance is used up."),
    Behaviour.FORBIDDEN: (403, "address_not_listed", "This address is not on the list."),
    Behaviour.PROXY_REFUSES: (407, "proxy_login", "The proxy wants a login."),
    Behaviour.REFUSE: (400, "number_unreachable", "The number cannot receive messages."),
    Behaviour.SPOIL: (400, "bad_request", "The request has a number that is not possible."),
}
_MOST_AT_ONCE = 1000


class Message(BaseModel):
    """What a sender posts: our reference, the number in E.164, the text; other members are ignored."""

    model_config = ConfigDict(strict=True)

    reference: str = Field(min_length=1)
    to: str = Field(min_length=1)
    text: str


class Messages(BaseModel):
    """What a sender posts that has several numbers in one call."""

    model_config = ConfigDict(strict=True)

    messages: list[Message] = Field(min_length=1, max_length=_MOST_AT_ONCE)


class Provider:
    """Answers `POST /messages`; `behaviour` may be replaced at any time and holds for the next call."""

    def __init__(self, calls: CallLog, late_s: float, receipts: Receipts) -> None:
        self.behaviour, self.receipts = DefaultBehaviour(), receipts
        self._calls = calls
        self._late_s = late_s

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """2xx with a message id or with results, or what numbers or behaviour ask for; 400 for what is no message."""
        try:
            messages, is_list = _read(await request.read())
        except ValidationError as problem:
            return error(400, "bad_request", first_problem(problem))
        plans, message_ids = await self.take(messages, kind="plain")
        if (whole := _answer_to_all(request, plans, is_list=is_list)) is not None:
            return whole
        return _results(messages, plans, message_ids) if is_list else _accepted(message_ids[0])

    async def take(
        self,
        messages: Sequence[Message],
        about_all: Sequence[Behaviour] = (),
        *,
        kind: str,
        words: Sequence[str] = (),
        url: str | None = None,
        id_of: Callable[[str], str] = str,
    ) -> tuple[Sequence[Plan], Sequence[str | None]]:
        """What is done with each message of a call, and its id where it is accepted; returns when it is to be
        answered. `about_all` is what the API has only of a call as a whole.

        For the receipts: the `kind` of API, the `words` that the messages came with (their references, where there are
        none), the `url` that came with them, and how the API shows an id.
        """
        plans = together([self._plan(message) for message in messages], about_all)
        message_ids = self._record(messages, plans)
        own_words = words or [message.reference for message in messages]
        # Of a request that is refused before any number is looked at, there are no ids.
        for message, word, message_id in zip(messages, own_words, message_ids or [None] * len(messages), strict=True):
            if message_id is not None:
                self.receipts.expect(Told(kind, message.reference, message.to, id_of(message_id), word, url))
        if delay_s := max(plan.delay_s for plan in plans):
            await asyncio.sleep(delay_s)
        return plans, message_ids

    def _plan(self, message: Message) -> Plan:
        call = Call(message.reference, message.to, self._calls.calls_of(message.reference))
        return decide(call, self.behaviour, self._late_s)

    def _record(self, messages: Sequence[Message], plans: Sequence[Plan]) -> Sequence[str | None]:
        """The message ids, None for what is not accepted."""
        self._calls.add_request(message.reference for message in messages)
        if len(messages) > 1 and plans[0].behaviour is Behaviour.SPOIL:
            return []  # the request was refused before any number was looked at
        at_s = time.time()
        return [
            self._calls.add(message.reference, message.to, message.text, at_s, plan.behaviour)
            for message, plan in zip(messages, plans, strict=True)
        ]


def _read(body: bytes) -> tuple[Sequence[Message], bool]:
    """The messages, and whether they came as a list."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    if isinstance(content, dict) and "messages" in content:
        return Messages.model_validate(content).messages, True
    return [Message.model_validate(content)], False


def _answer_to_all(request: web.Request, plans: Sequence[Plan], *, is_list: bool) -> web.StreamResponse | None:
    """The answer that does not tell one message from another; None where there is more to say."""
    if (whole := spoilt(request, plans)) is not None:
        return whole
    (behaviour, *others) = {plan.behaviour for plan in plans}
    # In a list a number is refused by its result, also where all are: a 400 would be about the list.
    if others or behaviour not in _REJECTIONS or (is_list and behaviour is Behaviour.REFUSE):
        return None
    status, code, text = _REJECTIONS[behaviour]
    return _with_pause(error(status, code, text), plans)


def spoilt(request: web.Request, plans: Sequence[Plan]) -> web.StreamResponse | None:
    """The end of a call that gets no answer, or one that nobody understands; None where it gets one."""
    behaviours = {plan.behaviour for plan in plans}
    if Behaviour.ACCEPT_RESET in behaviours:
        return _reset(request)
    if Behaviour.GARBAGE in behaviours:
        return web.Response(body=b"<html><body>It works!</body></html>", content_type="text/html")
    return None


def _accepted(message_id: str | None) -> web.Response:
    return web.Response(body=orjson.dumps({"message_id": message_id}), headers=JSON)


def _results(messages: Sequence[Message], plans: Sequence[Plan], message_ids: Sequence[str | None]) -> web.Response:
    results = [
        {"reference": message.reference, **_result(plan, message_id)}
        for message, plan, message_id in zip(messages, plans, message_ids, strict=True)
    ]
    return _with_pause(web.Response(body=orjson.dumps({"results": results}), headers=JSON), plans)


def _result(plan: Plan, message_id: str | None) -> dict[str, str]:
    if message_id is not None:
        return {"message_id": message_id}
    _status, code, text = _REJECTIONS[plan.behaviour]
    return {"code": code, "message": text}


def _with_pause(response: web.Response, plans: Sequence[Plan]) -> web.Response:
    pauses_s = [plan.retry_after_s for plan in plans if plan.behaviour is Behaviour.THROTTLE]
    if pauses_s:
        response.headers["Retry-After"] = str(max(pauses_s))
    return response


def _reset(request: web.Request) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        # Without a linger time of zero the kernel closes in good order (FIN), and the caller sees no reset.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()
