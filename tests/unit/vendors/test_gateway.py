"""What cannot be sent is refused without a call."""

import pytest

from services.sender.providers.gateway import HttpGateway, TextMessage
from services.sender.providers.vendors.aliyun import AliyunFormat
from services.sender.transports import HttpAnswer, HttpRequest
from shared.domain.outcome import CallResult, Verdict
from shared.providers import TemplateMapping

SENDABLE = TextMessage("b:0", "+8613800138000", "hello", template_id=1)


class Accepting:
    """A transport that remembers what it was to send."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def send(self, request: HttpRequest) -> HttpAnswer | CallResult:
        self.requests.append(request)
        return HttpAnswer(200, {}, b'{"Code": "OK", "BizId": "1^0"}')


@pytest.fixture
def transport() -> Accepting:
    return Accepting()


@pytest.fixture
def gateway(transport: Accepting) -> HttpGateway:
    templates = {1: TemplateMapping(code="SMS_1"), 3: TemplateMapping(code="SMS_3")}
    format_ = AliyunFormat(("id", "secret"), "Acme", templates)
    return HttpGateway("p", format_, transport, 100)


async def test_what_has_no_template_there_is_refused_without_a_call(gateway: HttpGateway, transport: Accepting) -> None:
    whole = await gateway.send([SENDABLE, SENDABLE._replace(template_id=2)])
    assert isinstance(whole, CallResult)
    assert (whole.verdict, whole.code) == (Verdict.REFUSED, "template_not_mapped")
    assert gateway.may_be_of_one(whole)
    assert not transport.requests


async def test_what_cannot_share_a_call_any_more_is_put_off_without_one(
    gateway: HttpGateway, transport: Accepting
) -> None:
    refusal = gateway.unsendable([SENDABLE, SENDABLE._replace(template_id=3)])
    assert refusal is not None
    assert (refusal.verdict, refusal.code) == (Verdict.PUT_OFF, "file_read_again")
    assert await gateway.send([SENDABLE, SENDABLE._replace(template_id=3)]) == refusal
    assert not transport.requests


async def test_alone_it_holds_up_nobody(gateway: HttpGateway, transport: Accepting) -> None:
    whole = await gateway.send([SENDABLE])
    assert isinstance(whole, CallResult)
    assert (whole.verdict, len(transport.requests)) == (Verdict.ACCEPTED, 1)
    assert gateway.share_key(SENDABLE) != gateway.share_key(SENDABLE._replace(template_id=2))
