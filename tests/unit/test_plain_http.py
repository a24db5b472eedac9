"""What the plain provider is posted, and what is made of its answer, with a transport that is played."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
import pytest

from services.sender.providers.gateway import HttpGateway, Results, TextMessage
from services.sender.providers.plain.classify import CodeTable
from services.sender.providers.plain.format import PlainFormat
from services.sender.transports import HttpAnswer, HttpRequest, HttpTransport
from shared.domain.outcome import CallResult, Verdict

URL = "http://provider.example/messages"
MESSAGES = [
    TextMessage("b:0", "+8613800138000", "Dear Li"),
    TextMessage("b:1", "+8613800138001", "您好 Han"),
]
CONTENTS = [
    {"reference": "b:0", "to": "+8613800138000", "text": "Dear Li"},
    {"reference": "b:1", "to": "+8613800138001", "text": "您好 Han"},
]


def plain(transport: HttpTransport, most: int) -> HttpGateway:
    return HttpGateway("p", PlainFormat(URL, CodeTable(), is_list=most > 1), transport, most)


class PlayedTransport:
    """Keeps what it is to send, and gives one answer."""

    def __init__(self, answer: HttpAnswer | CallResult) -> None:
        self._answer = answer
        self.posted: list[Any] = []

    async def open(self) -> None:
        """Nothing to do."""

    async def send(self, request: HttpRequest) -> HttpAnswer | CallResult:
        assert request[:3] == ("POST", URL, (("Content-Type", "application/json"),))
        self.posted.append(orjson.loads(request.body))
        return self._answer

    async def close(self) -> None:
        """Nothing to do."""


def ok(content: object) -> PlayedTransport:
    return PlayedTransport(HttpAnswer(200, {}, orjson.dumps(content)))


async def test_one_message_is_posted_as_it_is() -> None:
    transport = ok({"message_id": "p-1"})
    found = await plain(transport, 1).send(MESSAGES[:1])
    assert transport.posted == CONTENTS[:1]
    assert found == CallResult(Verdict.ACCEPTED, status=200, provider_message_id="p-1")


async def test_several_messages_are_posted_as_a_list_and_each_has_its_result() -> None:
    transport = ok({"results": [{"reference": "b:1", "message_id": "p-1"}, {"reference": "b:0", "code": "no"}]})
    found = await plain(transport, 100).send(MESSAGES)
    assert transport.posted == [{"messages": CONTENTS}]
    assert not isinstance(found, CallResult)
    assert [result.verdict for result in found] == [Verdict.REFUSED, Verdict.ACCEPTED]


async def test_where_calls_may_have_several_a_single_message_is_a_list_too() -> None:
    transport = ok({"results": [{"reference": "b:0", "message_id": "p-1"}]})
    found = await plain(transport, 100).send(MESSAGES[:1])
    assert transport.posted == [{"messages": CONTENTS[:1]}]
    assert found == [CallResult(Verdict.ACCEPTED, status=200, provider_message_id="p-1")]


@pytest.mark.parametrize("max_recipients", [1, 100])
async def test_what_is_known_without_an_answer_is_the_result_of_the_call(max_recipients: int) -> None:
    lost = CallResult(Verdict.UNCLEAR, "connection_lost", "It may have been sent")
    assert await plain(PlayedTransport(lost), max_recipients).send(MESSAGES[:1]) is lost


@pytest.mark.parametrize(
    ("status", "maybe"),
    [
        *((status, True) for status in (400, 413, 422)),
        *((status, False) for status in (401, 403, 404, 405, 415, 429, 500, 503)),
    ],
)
async def test_a_refusal_of_a_call_may_be_because_of_one_message_unless_it_is_about_all(
    status: int, *, maybe: bool
) -> None:
    gateway = plain(PlayedTransport(HttpAnswer(status, {}, b"{}")), 100)
    whole = await gateway.send(MESSAGES)
    assert isinstance(whole, CallResult)
    assert gateway.may_be_of_one(whole) is maybe


@pytest.mark.parametrize("most", [1, 100])
@pytest.mark.parametrize(("asked", "kept_s"), [("60", 7), ("5", 5), ("9" * 30, 7)])
async def test_a_pause_is_kept_up_to_the_longest_that_is_kept(most: int, asked: str, kept_s: float) -> None:
    content = {"code": "throttled"} if most == 1 else {"results": [{"reference": "b:0", "code": "throttled"}]}
    status = 429 if most == 1 else 200
    transport = PlayedTransport(HttpAnswer(status, {"Retry-After": asked}, orjson.dumps(content)))
    format_ = PlainFormat(URL, CodeTable(), is_list=most > 1)
    found = await HttpGateway("p", format_, transport, most, longest_pause_s=7).send(MESSAGES[:1])
    result = found if isinstance(found, CallResult) else found[0]
    assert (result.verdict, result.retry_after_s) == (Verdict.NOT_SENT, kept_s)


async def test_an_answer_that_its_format_cannot_read_is_unclear_and_ends_nothing() -> None:
    class Unreading(PlainFormat):
        def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
            raise KeyError("a defect")

    format_ = Unreading(URL, CodeTable(), is_list=False)
    found = await HttpGateway("p", format_, PlayedTransport(HttpAnswer(200, {}, b"{}"))).send(MESSAGES[:1])
    assert isinstance(found, CallResult)
    assert (found.verdict, found.code, found.status) == (Verdict.UNCLEAR, "answer_not_understood", 200)
