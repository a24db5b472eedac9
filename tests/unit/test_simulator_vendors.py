"""The simulator is as strict as Aliyun and Tencent Cloud about who calls, when, and with what."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from services.sender.providers.gateway import Format, TextMessage
from services.sender.providers.vendors.aliyun import AliyunFormat
from services.sender.providers.vendors.tencent import TencentFormat
from services.sender.transports import HttpRequest
from shared.providers import TemplateMapping
from tools.simulator.app import build_app
from tools.simulator.vendors import TOKEN

Simulator = TestClient[Any, Any]
NAMED = {1: TemplateMapping(code="SMS_1", params={"name": "name"}), 2: TemplateMapping(code="SMS_UNKNOWN_2")}
ORDERED = {1: TemplateMapping(code="1001", params=["name"]), 2: TemplateMapping(code="unknown2")}
ONE, TWO, REFUSED = "+8613800138000", "+8613800138001", "+8613800139005"


@pytest.fixture
async def simulator(aiohttp_client: Callable[..., Awaitable[Simulator]]) -> Simulator:
    return await aiohttp_client(build_app(30.0))


def messages(*numbers: str, template_id: int = 1, same: bool = True) -> list[TextMessage]:
    return [
        TextMessage(f"b:{row}", to, "", template_id=template_id, variables={"name": "Li" if same else f"Li {row}"})
        for row, to in enumerate(numbers)
    ]


def aliyun(
    simulator: Simulator, key_id: str = "LTAI0", secret: str = TOKEN, nonce: Callable[[], str] | None = None
) -> Format:
    kwargs = {} if nonce is None else {"nonce": nonce}
    return AliyunFormat((key_id, secret), "某公司", NAMED, url_of(simulator), **kwargs)


def tencent(
    simulator: Simulator, key_id: str = "AKID0", secret: str = TOKEN, app_id: str = "1400000001", region: str = "r"
) -> Format:
    return TencentFormat((key_id, secret), (app_id, "某公司"), ORDERED, region, url_of(simulator))


def url_of(simulator: Simulator) -> str:
    return f"http://127.0.0.1:{simulator.port}"


async def answered(simulator: Simulator, request: HttpRequest) -> dict[str, Any]:
    """What the simulator answers, and with which status."""
    response = await simulator.session.request(
        request.method, request.url, data=request.body or None, headers=request.headers
    )
    assert response.headers["Content-Type"] == "application/json"
    content: dict[str, Any] = await response.json()
    return {**content, **content.get("Response", {}), "status": response.status}


async def code_of(simulator: Simulator, request: HttpRequest) -> tuple[int, str]:
    found = await answered(simulator, request)
    return found["status"], found.get("Code") or found["Error"]["Code"]


def now(late_s: float = 0) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=late_s)


async def test_who_aliyun_does_not_let_in(simulator: Simulator) -> None:
    sent = messages(ONE)
    known = aliyun(simulator)
    cases = [
        (aliyun(simulator, key_id="AKID").request(sent, now()), (404, "InvalidAccessKeyId.NotFound")),
        (aliyun(simulator, secret="other").request(sent, now()), (400, "SignatureDoesNotMatch")),
        (known.request(sent, now(16 * 60)), (400, "InvalidTimeStamp.Expired")),
        (known.request(sent, now(-16 * 60)), (400, "InvalidTimeStamp.Expired")),
    ]
    for request, expected in cases:
        assert await code_of(simulator, request) == expected
    for late_s in (14 * 60, -14 * 60):
        assert (await answered(simulator, known.request(sent, now(late_s))))["Code"] == "OK"


async def test_what_aliyun_has_not_seen_signed_is_not_taken(simulator: Simulator) -> None:
    request = aliyun(simulator).request(messages(ONE, TWO, same=False), now())
    for changed in (
        request._replace(url=request.url.replace("b%3A0", "b%3A1")),
        request._replace(body=request.body.replace(b"13800138000", b"13800138009")),
        request._replace(
            headers=tuple((n, v.replace(";content-type", "").replace("content-type;", "")) for n, v in request.headers)
        ),
        request._replace(headers=(*request.headers[:-1], ("Authorization", "ACS3"))),
    ):
        status, code = await code_of(simulator, changed)
        assert (status, code) in [(400, "SignatureDoesNotMatch"), (400, "MissingAuthorization")]
    assert (await answered(simulator, request))["Code"] == "OK"


async def test_aliyun_takes_a_nonce_once(simulator: Simulator) -> None:
    format_ = aliyun(simulator, nonce=lambda: "0" * 32)
    assert (await answered(simulator, format_.request(messages(ONE), now())))["Code"] == "OK"
    assert await code_of(simulator, format_.request(messages(TWO), now())) == (400, "SignatureNonceUsed")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (messages(ONE, template_id=2), "isv.SMS_TEMPLATE_ILLEGAL"),
        (messages("+86138"), "isv.MOBILE_NUMBER_ILLEGAL"),
        (messages(ONE, REFUSED), "isv.MOBILE_NUMBER_ILLEGAL"),
        (messages(ONE, REFUSED, same=False), "isv.MOBILE_NUMBER_ILLEGAL"),
        (messages(*[ONE] * 101, same=False), "isv.MOBILE_COUNT_OVER_LIMIT"),
    ],
)
async def test_aliyun_refuses_a_call_as_a_whole(simulator: Simulator, sent: Sequence[TextMessage], code: str) -> None:
    assert await code_of(simulator, aliyun(simulator).request(sent, now())) == (200, code)
    assert (await (await simulator.get("/calls/summary")).json())["accepted"] == 0


async def test_aliyun_accepts_a_call_with_one_id_for_all(simulator: Simulator) -> None:
    sent = messages(ONE, "+85251234567", same=False)
    found = await answered(simulator, aliyun(simulator).request(sent, now()))
    assert (found["status"], found["Code"], found["BizId"].count("^")) == (200, "OK", 1)
    calls = (await (await simulator.get("/calls")).json())["calls"]
    assert [(call["reference"], call["to"], call["text"]) for call in calls] == [
        (f"b:{ONE}", ONE, 'SMS_1 {"name":"Li 0"}'),
        ("b:+85251234567", "+85251234567", 'SMS_1 {"name":"Li 1"}'),
    ]


async def test_who_tencent_does_not_let_in(simulator: Simulator) -> None:
    sent = messages(ONE)
    known = tencent(simulator)
    cases = [
        (tencent(simulator, key_id="LTAI").request(sent, now()), "AuthFailure.SecretIdNotFound"),
        (tencent(simulator, secret="other").request(sent, now()), "AuthFailure.SignatureFailure"),
        (known.request(sent, now(6 * 60)), "AuthFailure.SignatureExpire"),
        (known.request(sent, now(-6 * 60)), "AuthFailure.SignatureExpire"),
        (tencent(simulator, region="").request(sent, now()), "MissingParameter"),
        (tencent(simulator, app_id="1").request(sent, now()), "InvalidParameterValue.SdkAppIdNotExist"),
    ]
    for request, code in cases:
        assert await code_of(simulator, request) == (200, code)
    for late_s in (4 * 60, -4 * 60):
        (status,) = (await answered(simulator, known.request(sent, now(late_s))))["SendStatusSet"]
        assert status["Code"] == "Ok"


async def test_what_tencent_has_not_seen_signed_is_not_taken(simulator: Simulator) -> None:
    request = tencent(simulator).request(messages(ONE), now())
    changed = request._replace(body=request.body.replace(b"13800138000", b"13800138009"))
    assert await code_of(simulator, changed) == (200, "AuthFailure.SignatureFailure")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (messages(ONE, template_id=2), "FailedOperation.TemplateIncorrectOrUnapproved"),
        (messages(ONE, "+85251234567"), "UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber"),
        (messages(*[ONE] * 201), "LimitExceeded.PhoneNumberCountLimit"),
        (messages(ONE, "+8613800139010"), "RequestLimitExceeded"),
    ],
)
async def test_tencent_refuses_some_calls_as_a_whole(
    simulator: Simulator, sent: Sequence[TextMessage], code: str
) -> None:
    assert await code_of(simulator, tencent(simulator).request(sent, now())) == (200, code)
    assert (await (await simulator.get("/calls/summary")).json())["accepted"] == 0


async def test_tencent_has_a_status_for_each_number(simulator: Simulator) -> None:
    found = await answered(simulator, tencent(simulator).request(messages("+86138", REFUSED, ONE), now()))
    assert [(each["PhoneNumber"], each["Code"], bool(each["SerialNo"])) for each in found["SendStatusSet"]] == [
        ("+86138", "InvalidParameterValue.IncorrectPhoneNumber", False),
        (REFUSED, "FailedOperation.PhoneNumberInBlacklist", False),
        (ONE, "Ok", True),
    ]
    calls = (await (await simulator.get("/calls?batch=b")).json())["calls"]
    assert [(call["to"], call["text"]) for call in calls] == [(REFUSED, "1001 Li"), (ONE, "1001 Li")]


async def test_nobody_else_is_at_the_vendors_address(simulator: Simulator) -> None:
    assert (await simulator.post("/", json={})).status == 404
