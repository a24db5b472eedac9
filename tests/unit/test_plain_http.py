"""What the plain provider is posted, and what is made of its answer, with a poster that is played."""

from typing import Any

import orjson
import pytest

from services.sender.classify import CodeTable
from services.sender.gateways import TextMessage
from services.sender.gateways.plain_http import PlainHttpGateway
from services.sender.gateways.posting import Answer
from shared.domain.outcome import CallResult, Verdict

MESSAGES = [
    TextMessage("b:0", "+8613800138000", "Dear Li"),
    TextMessage("b:1", "+8613800138001", "您好 Han"),
]
CONTENTS = [
    {"reference": "b:0", "to": "+8613800138000", "text": "Dear Li"},
    {"reference": "b:1", "to": "+8613800138001", "text": "您好 Han"},
]


class PlayedPoster:
    """Keeps what it is to post, and gives one answer."""

    def __init__(self, answer: Answer | CallResult) -> None:
        self._answer = answer
        self.posted: list[Any] = []

    async def open(self) -> None:
        """Nothing to do."""

    async def post(self, body: bytes) -> Answer | CallResult:
        self.posted.append(orjson.loads(body))
        return self._answer

    async def close(self) -> None:
        """Nothing to do."""


def ok(content: object) -> PlayedPoster:
    return PlayedPoster(Answer(200, {}, orjson.dumps(content)))


async def test_one_message_is_posted_as_it_is() -> None:
    poster = ok({"message_id": "p-1"})
    found = await PlainHttpGateway(poster, CodeTable(), 1).send(MESSAGES[:1])
    assert poster.posted == CONTENTS[:1]
    assert found == CallResult(Verdict.ACCEPTED, status=200, provider_message_id="p-1")


async def test_several_messages_are_posted_as_a_list_and_each_has_its_result() -> None:
    poster = ok({"results": [{"reference": "b:1", "message_id": "p-1"}, {"reference": "b:0", "code": "no"}]})
    found = await PlainHttpGateway(poster, CodeTable(), 100).send(MESSAGES)
    assert poster.posted == [{"messages": CONTENTS}]
    assert not isinstance(found, CallResult)
    assert [result.verdict for result in found] == [Verdict.REFUSED, Verdict.ACCEPTED]


async def test_where_calls_may_have_several_a_single_message_is_a_list_too() -> None:
    poster = ok({"results": [{"reference": "b:0", "message_id": "p-1"}]})
    found = await PlainHttpGateway(poster, CodeTable(), 100).send(MESSAGES[:1])
    assert poster.posted == [{"messages": CONTENTS[:1]}]
    assert found == [CallResult(Verdict.ACCEPTED, status=200, provider_message_id="p-1")]


@pytest.mark.parametrize("max_recipients", [1, 100])
async def test_what_is_known_without_an_answer_is_the_result_of_the_call(max_recipients: int) -> None:
    lost = CallResult(Verdict.UNCLEAR, "connection_lost", "It may have been sent")
    assert await PlainHttpGateway(PlayedPoster(lost), CodeTable(), max_recipients).send(MESSAGES[:1]) is lost
