"""What the vendors' answers mean: every code of their tables, and whatever else may come."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sender.providers.gateway import Format, TextMessage
from services.sender.providers.vendors import aliyun, infobip, tencent, twilio, vonage
from services.sender.providers.vendors.aliyun import AliyunFormat
from services.sender.providers.vendors.infobip import InfobipFormat
from services.sender.providers.vendors.reading import basic
from services.sender.providers.vendors.tencent import TencentFormat
from services.sender.providers.vendors.twilio import TwilioFormat
from services.sender.providers.vendors.vonage import VonageFormat
from services.sender.transports import HttpAnswer
from shared.domain.answers import AnswerClass
from shared.domain.outcome import CallResult, Verdict
from shared.providers import TemplateMapping

NOW = datetime(2026, 11, 27, 8, tzinfo=UTC)
MESSAGE = TextMessage(
    "b:7", "+8613800138000", "Dear Li, your code is 4711", template_id=1, variables={"name": "Li", "code": "4711"}
)
SECRET = "k3y-of-nobody"
TWILIO: Format = TwilioFormat("AC" + "0" * 32, "user", SECRET, "+15005550006")
VONAGE: Format = VonageFormat("key", SECRET, "Acme")
INFOBIP: Format = InfobipFormat(SECRET, "Acme", "https://x.api.infobip.example")
ALIYUN: Format = AliyunFormat(("id", SECRET), "Acme", {1: TemplateMapping(code="T", params={"code": "code"})})
TENCENT: Format = TencentFormat(("id", SECRET), ("14", "Acme"), {1: TemplateMapping(code="1", params=["code"])})
ALL = [TWILIO, VONAGE, INFOBIP, ALIYUN, TENCENT]
VERDICTS = {
    AnswerClass.NUMBER: Verdict.REFUSED,
    AnswerClass.CONTENT: Verdict.REFUSED,
    AnswerClass.THROTTLED: Verdict.NOT_SENT,
    AnswerClass.THROTTLED_NUMBER: Verdict.PUT_OFF,
    AnswerClass.UNAVAILABLE: Verdict.NOT_SENT,
    AnswerClass.ACCOUNT: Verdict.ACCOUNT,
    AnswerClass.UNCLEAR: Verdict.UNCLEAR,
}


def result(format_: Format, status: int, content: Any, headers: Mapping[str, str] | None = None) -> CallResult:
    """What an answer means for the one message of the call."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    found = format_.results(HttpAnswer(status, headers or {}, body), [MESSAGE], NOW)
    if isinstance(found, CallResult):
        return found
    (one,) = found
    return one


def test_every_class_is_one_verdict() -> None:
    assert VERDICTS.keys() == set(AnswerClass)


def documented(vendor: str, code: str) -> list[tuple[str, AnswerClass]]:
    """The codes of a vendor with their classes, as docs/providers.md says them; `code` is what one looks like."""
    lines = (Path(__file__).parents[3] / "docs/providers.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    heads = [index for index, row in enumerate(rows) if row[0] == "class"]
    (head,) = (index for index in heads if any(cell.startswith(vendor) for cell in rows[index]))
    column = next(index for index, cell in enumerate(rows[head]) if cell.startswith(vendor))
    end = next((index for index in heads if index > head), len(rows))
    classes = {str(what): what for what in AnswerClass} | {"throttled, this number": AnswerClass.THROTTLED_NUMBER}
    return [
        (found, classes[row[0]])
        for row in rows[head + 1 : end]
        if row[0] in classes
        for found in re.findall(code, row[column].replace("HTTP 429", ""))
    ]


_DIGITS, _WORDS = r"(?<![\w-])\d+(?![\w-])", r"`([A-Za-z._]+)(?:\.\*)?`"
TWILIOS, VONAGES, INFOBIPS = (documented(vendor, _DIGITS) for vendor in ("Twilio", "Vonage", "Infobip"))
ALIYUNS, TENCENTS = documented("Aliyun", _WORDS), documented("Tencent", _WORDS)


def test_the_documentation_has_every_code() -> None:
    assert dict(TWILIOS) == twilio.CODES
    assert dict(VONAGES) == vonage.CODES
    assert {int(code): what for code, what in INFOBIPS} == infobip.STATUSES
    assert {code.rstrip("."): what for code, what in ALIYUNS} == aliyun.CODES
    assert {code.rstrip("."): what for code, what in TENCENTS} == tencent.CODES


@pytest.mark.parametrize(("code", "what"), TWILIOS)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_twilios_codes(code: str, what: AnswerClass, status: int) -> None:
    found = result(TWILIO, status, {"code": int(code), "message": "Something about it", "status": status})
    assert (found.verdict, found.code, found.reason) == (VERDICTS[what], code, "Something about it")


@pytest.mark.parametrize(("code", "what"), VONAGES)
@pytest.mark.parametrize("status", [200, 420])
def test_vonages_codes(code: str, what: AnswerClass, status: int) -> None:
    part = {"status": code, "error-text": "Something about it", "to": "8613800138000"}
    found = result(VONAGE, status, {"message-count": "1", "messages": [part]})
    assert (found.verdict, found.code, found.reason) == (VERDICTS[what], code, "Something about it")


@pytest.mark.parametrize(("code", "what"), INFOBIPS)
def test_infobips_statuses(code: str, what: AnswerClass) -> None:
    status = {"groupId": 5, "groupName": "REJECTED", "id": int(code), "description": "Something about it"}
    found = result(INFOBIP, 200, {"messages": [{"messageId": "b:7:1", "status": status}]})
    assert (found.verdict, found.code, found.reason) == (VERDICTS[what], code, "Something about it")


@pytest.mark.parametrize(("code", "what"), ALIYUNS)
@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_aliyuns_codes(code: str, what: AnswerClass, status: int) -> None:
    found = result(ALIYUN, status, {"Code": code, "Message": "Something about it", "RequestId": "r"})
    assert (found.verdict, found.code, found.reason) == (VERDICTS[what], code, "Something about it")


@pytest.mark.parametrize(("code", "what"), TENCENTS)
@pytest.mark.parametrize("is_whole", [True, False])
def test_tencents_codes(code: str, what: AnswerClass, *, is_whole: bool) -> None:
    said = {"Code": code, "Message": "Something about it"}
    entry = {**said, "PhoneNumber": MESSAGE.to, "SerialNo": "", "Fee": 0}
    response = {"Error": said} if is_whole else {"SendStatusSet": [entry]}
    found = result(TENCENT, 200, {"Response": {**response, "RequestId": "r"}})
    assert (found.verdict, found.code, found.reason) == (VERDICTS[what], code, "Something about it")


@pytest.mark.parametrize(
    ("format_", "code", "verdict"),
    [
        (ALIYUN, "Throttling.Somehow", Verdict.NOT_SENT),
        (ALIYUN, "InvalidAccessKeyId.Inactive", Verdict.ACCOUNT),
        (ALIYUN, "isv.SOMETHING_NEW", Verdict.REFUSED),
        (ALIYUN, "MissingPhoneNumbers", Verdict.REFUSED),
        (TENCENT, "AuthFailure.SignatureExpire", Verdict.ACCOUNT),
        (TENCENT, "RequestLimitExceeded.IPLimitExceeded", Verdict.NOT_SENT),
        (TENCENT, "InvalidParameterValue.Something", Verdict.REFUSED),
        (TENCENT, "InternalError.Timeout", Verdict.UNCLEAR),
        (TENCENT, "LimitExceeded.SomethingNew", Verdict.UNCLEAR),
    ],
)
def test_a_code_may_be_known_by_its_family(format_: Format, code: str, verdict: Verdict) -> None:
    status = 400 if format_ is ALIYUN else 200
    found = result(format_, status, {"Code": code, "Response": {"Error": {"Code": code, "Message": "x"}}})
    assert (found.verdict, found.code) == (verdict, code)
    assert result(ALIYUN, 200, {"Code": "isv.SOMETHING_NEW"}).verdict is Verdict.UNCLEAR


@pytest.mark.parametrize("format_", ALL)
@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (302, Verdict.NOT_SENT), (303, Verdict.UNCLEAR), (408, Verdict.NOT_SENT),
        (400, Verdict.REFUSED), (401, Verdict.ACCOUNT), (402, Verdict.ACCOUNT),
        (403, Verdict.ACCOUNT), (404, Verdict.REFUSED), (407, Verdict.ACCOUNT), (429, Verdict.NOT_SENT),
        (500, Verdict.UNCLEAR), (502, Verdict.UNCLEAR), (503, Verdict.NOT_SENT), (504, Verdict.UNCLEAR),
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [b"", b"<html>Oops</html>", b"[]", b"{}", b'{"code":99999,"message":"?"}'])
def test_without_a_code_that_is_known_the_status_says_it(
    format_: Format, status: int, verdict: Verdict, body: bytes
) -> None:
    found = result(format_, status, body, {"Retry-After": "17"})
    # How long we wait for our account to be mended is ours to say.
    pause_s = None if verdict is Verdict.ACCOUNT else 17
    assert (found.verdict, found.status, found.retry_after_s) == (verdict, status, pause_s)


@pytest.mark.parametrize("format_", ALL)
def test_a_503_that_asks_for_no_pause_may_have_been_sent(format_: Format) -> None:
    """Proxies say so too where they lost what was behind them."""
    assert result(format_, 503, b"upstream connect error or disconnect/reset before headers").verdict is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("format_", "content"),
    [
        (TWILIO, {"code": 20003, "message": f"Bad {SECRET} or {basic('user', SECRET)}"}),
        (VONAGE, {"messages": [{"status": "4", "error-text": f"Bad {SECRET}"}]}),
        (INFOBIP, {"errorCode": "E401", "description": f"Bad {SECRET}"}),
        (ALIYUN, {"Code": "SignatureDoesNotMatch", "Message": f"Bad {SECRET}"}),
        (TENCENT, {"Response": {"Error": {"Code": "AuthFailure", "Message": f"Bad {SECRET}"}}}),
    ],
)
def test_no_reason_shows_our_secret(format_: Format, content: Any) -> None:
    found = result(format_, 401, content)
    assert found.verdict is Verdict.ACCOUNT
    assert found.reason in ("Bad …", "Bad … or Basic …")


OK = {"Code": "Ok", "Message": "send success", "PhoneNumber": MESSAGE.to, "SerialNo": "S1", "Fee": 1}
NO = {"Code": "FailedOperation.PhoneNumberInBlacklist", "Message": "No", "PhoneNumber": MESSAGE.to, "SerialNo": ""}
ACCEPTED = [
    (TWILIO, 201, {"sid": "SM1", "status": "queued", "error_code": None}, "SM1"),
    (VONAGE, 200, {"messages": [{"status": "0", "message-id": "V1"}, {"status": "0", "message-id": "V2"}]}, "V1"),
    (INFOBIP, 200, {"messages": [{"messageId": "b:7:1", "status": {"groupId": 1, "id": 26}}]}, "b:7:1"),
    (ALIYUN, 200, {"Code": "OK", "Message": "OK", "BizId": "900619746936498440^0"}, "900619746936498440^0"),
    (TENCENT, 200, {"Response": {"SendStatusSet": [{**OK, "SerialNo": "5000:1"}]}}, "5000:1"),
]


@pytest.mark.parametrize(("format_", "status", "content", "message_id"), ACCEPTED)
def test_what_is_accepted(format_: Format, status: int, content: Any, message_id: str) -> None:
    found = result(format_, status, content)
    assert (found.verdict, found.provider_message_id) == (Verdict.ACCEPTED, message_id)


@pytest.mark.parametrize(
    ("format_", "status", "content"),
    [
        (TWILIO, 200, {"sid": "SM1"}),
        (TWILIO, 201, {"status": "queued"}),
        (TWILIO, 201, {"sid": " "}),
        (TWILIO, 400, {"sid": "SM1", "code": 21211}),
        (TWILIO, 201, b"created"),
        (VONAGE, 200, {"messages": []}),
        (VONAGE, 200, {"messages": ["0"]}),
        (VONAGE, 200, {"messages": [{"status": "0"}]}),
        (VONAGE, 200, {"messages": [{"status": 0, "message-id": "V1"}]}),
        (VONAGE, 200, {"messages": [{"status": "0", "message-id": "V1"}, {"status": "1"}]}),
        (VONAGE, 200, {"messages": [{"status": "6", "message-id": "V1"}]}),
        (VONAGE, 200, {"messages": [{"status": "6"}, {"status": "7"}]}),
        (VONAGE, 200, {"messages": [{"status": "99"}]}),
        (VONAGE, 200, {"messages": [{"status": []}]}),
        (VONAGE, 429, {"messages": [{"status": "0", "message-id": "V1"}]}),
        (VONAGE, 400, {"messages": [{"status": "0"}]}),
        (INFOBIP, 200, {"messages": [{"messageId": "b:7:1", "status": {"groupId": {}}}]}),
        (INFOBIP, 200, {"messages": [{"messageId": "b:7:1", "status": {"groupId": True, "id": 1}}]}),
        (INFOBIP, 200, {"messages": [{"messageId": "b:7:1", "status": {"groupId": 1, "id": 12}}]}),
        (INFOBIP, 429, {"messages": [{"messageId": "b:7:1", "status": {"groupId": 1, "id": 26}}]}),
        (INFOBIP, 200, {"messages": []}),
        (INFOBIP, 200, {"messages": [{"messageId": "b:8:1", "status": {"groupId": 1}}]}),
        (INFOBIP, 200, {"messages": [{"messageId": "b:7:1"}]}),
        (INFOBIP, 200, {"messages": [{"messageId": "b:7:1", "status": {"groupId": 5, "id": 12345}}]}),
        (
            INFOBIP,
            200,
            {"messages": [{"messageId": "b:7:1", "status": {"groupId": g, "id": i}} for g, i in ((1, 26), (5, 12))]},
        ),
        (ALIYUN, 200, {"Code": "OK"}),
        (ALIYUN, 200, {"Code": "OK", "BizId": 0}),
        (ALIYUN, 200, {"Code": "OK", "BizId": ["1"]}),
        (ALIYUN, 200, {"Code": "ok", "BizId": "1^0"}),
        (ALIYUN, 200, {"BizId": "1^0"}),
        (ALIYUN, 200, {"Code": "isv.MOBILE_NUMBER_ILLEGAL", "BizId": "1^0"}),
        (ALIYUN, 400, {"Code": "OK"}),
        (ALIYUN, 400, {"Code": "Throttling.User", "BizId": "1^0"}),
        (ALIYUN, 403, {"Code": "OK", "BizId": "1^0"}),
        (ALIYUN, 200, {"Code": {}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": []}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": ["Ok"]}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": [{**OK, "SerialNo": ""}]}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": [{**OK, "PhoneNumber": "+8613800138001"}]}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": [{**OK, "PhoneNumber": None}]}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": [OK, OK]}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": [OK, NO]}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": [{**NO, "SerialNo": "S1"}]}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": [{**NO, "Code": None}]}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": [{**NO, "Code": "Failed.Somehow"}]}}),
        (TENCENT, 200, {"Response": {"SendStatusSet": [OK], "Error": {"Code": "AuthFailure.SignatureFailure"}}}),
        (TENCENT, 200, {"Response": {"Error": "AuthFailure.SignatureFailure"}}),
        (TENCENT, 429, {"Response": {"SendStatusSet": [OK]}}),
        (TENCENT, 401, {"Response": {"SendStatusSet": [{**NO, "SerialNo": "S1"}]}}),
    ],
)
def test_what_contradicts_itself_may_have_been_sent(format_: Format, status: int, content: Any) -> None:
    assert result(format_, status, content).verdict is Verdict.UNCLEAR


def test_vonages_throttle_says_how_long() -> None:
    part = {"status": "1", "error-text": "Throughput Rate Exceeded - please wait [ 250 ] and retry"}
    assert result(VONAGE, 200, {"messages": [part]}).retry_after_s == 0.25


def test_infobips_messages_have_a_result_each() -> None:
    messages = [TextMessage(f"b:{row}", f"+861380013800{row}", "x") for row in range(3)]
    entries = [
        {"messageId": "b:2:1", "status": {"groupId": 5, "id": 8, "description": "No prefix"}},
        {"messageId": "b:0:1", "status": {"groupId": 1, "id": 7}},
    ]
    found = INFOBIP.results(HttpAnswer(200, {}, orjson.dumps({"messages": entries})), messages, NOW)
    assert not isinstance(found, CallResult)
    assert [each.verdict for each in found] == [Verdict.ACCEPTED, Verdict.UNCLEAR, Verdict.REFUSED]
    assert INFOBIP.may_be_of_one(result(INFOBIP, 400, {"errorCode": "E400"}))
    assert not INFOBIP.may_be_of_one(result(INFOBIP, 404, {}))


def test_tencents_messages_have_a_result_each_by_their_numbers() -> None:
    messages = [TextMessage(f"b:{row}", f"+861380013800{row}", "x") for row in range(4)]
    messages.append(messages[3]._replace(reference="c:9"))  # of another batch, to the same number
    entries = [
        {**NO, "PhoneNumber": "8613800138002"},
        {**OK, "PhoneNumber": "13800138000", "SerialNo": "S0"},
        {**OK, "PhoneNumber": "+8613800138003", "SerialNo": "S3"},
        {**OK, "PhoneNumber": "+8613800138003", "SerialNo": "S4"},
        {**OK, "PhoneNumber": "+8613800138009", "SerialNo": "S9"},
    ]
    body = orjson.dumps({"Response": {"SendStatusSet": entries}})
    found = TENCENT.results(HttpAnswer(200, {}, body), messages, NOW)
    assert not isinstance(found, CallResult)
    assert [(each.verdict, each.provider_message_id) for each in found] == [
        (Verdict.ACCEPTED, "S0"),
        (Verdict.UNCLEAR, None),
        (Verdict.REFUSED, None),
        (Verdict.ACCEPTED, "S3"),
        (Verdict.ACCEPTED, "S4"),
    ]


def test_aliyuns_id_is_that_of_every_message_of_the_call() -> None:
    messages = [TextMessage(f"b:{row}", f"+861380013800{row}", "x") for row in range(3)]
    body = orjson.dumps({"Code": "OK", "BizId": "900619746936498440^0"})
    found = ALIYUN.results(HttpAnswer(200, {}, body), messages, NOW)
    assert isinstance(found, CallResult)
    assert (found.verdict, found.provider_message_id) == (Verdict.ACCEPTED, "900619746936498440^0")


@pytest.mark.parametrize(
    ("code", "maybe"),
    [
        ("isv.MOBILE_NUMBER_ILLEGAL", True),
        ("isv.PARAM_LENGTH_LIMIT", True),
        ("isv.MOBILE_COUNT_OVER_LIMIT", True),
        ("isv.BUSINESS_LIMIT_CONTROL", True),
        ("isv.SMS_TEMPLATE_ILLEGAL", False),
        ("isv.SMS_SIGNATURE_ILLEGAL", False),
        ("isv.AMOUNT_NOT_ENOUGH", False),
        ("Throttling.User", False),
        ("isp.SYSTEM_ERROR", False),
        ("OK", False),
    ],
)
def test_what_aliyun_may_refuse_because_of_one(code: str, *, maybe: bool) -> None:
    whole = result(ALIYUN, 200, {"Code": code, "Message": "x"})
    assert ALIYUN.may_be_of_one(whole) is maybe


@pytest.mark.parametrize(
    ("code", "maybe"),
    [
        ("InvalidParameterValue.IncorrectPhoneNumber", True),
        ("UnsupportedOperation.UnsupportedRegion", True),
        ("LimitExceeded.PhoneNumberCountLimit", True),
        ("LimitExceeded.DeliveryFrequencyLimit", True),
        ("FailedOperation.TemplateIncorrectOrUnapproved", False),
        ("InvalidParameterValue.TemplateParameterLengthLimit", False),
        ("AuthFailure.SignatureFailure", False),
        ("RequestLimitExceeded", False),
        ("InternalError.Timeout", False),
    ],
)
def test_what_tencent_may_refuse_because_of_one(code: str, *, maybe: bool) -> None:
    whole = result(TENCENT, 200, {"Response": {"Error": {"Code": code, "Message": "x"}}})
    assert TENCENT.may_be_of_one(whole) is maybe


@pytest.mark.parametrize("format_", [ALIYUN, TENCENT])
def test_an_address_that_is_wrong_is_not_because_of_one(format_: Format) -> None:
    assert not format_.may_be_of_one(result(format_, 404, b"Not found"))
    assert format_.may_be_of_one(result(format_, 400, b"Bad request"))


@pytest.mark.parametrize(
    ("format_", "status", "content"),
    [
        (TWILIO, 400, {"code": 21211, "message": "'To' +8613800138000: Dear Li, your code is 4711"}),
        (VONAGE, 200, {"messages": [{"status": "6", "error-text": "8613800138000: Dear Li, your code is 4711"}]}),
        (
            INFOBIP,
            200,
            {"messages": [{"messageId": "b:7:1", "status": {"groupId": 5, "id": 8, "description": MESSAGE.text}}]},
        ),
        (ALIYUN, 400, {"Code": "SignatureDoesNotMatch", "Message": 'PhoneNumbers=13800138000&{"code":"4711"}'}),
        (
            TENCENT,
            200,
            {"Response": {"Error": {"Code": "InvalidParameterValue", "Message": "+8613800138000 [4711]"}}},
        ),
        (TENCENT, 200, {"Response": {"SendStatusSet": [{**NO, "Message": "13800138000: 4711 is wrong"}]}}),
    ],
)
def test_no_reason_shows_the_number_or_the_text(format_: Format, status: int, content: Any) -> None:
    reason = result(format_, status, content).reason or ""
    assert "13800138000" not in reason
    assert "4711" not in reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["0", "1", "b:7:1", "21211", "SM1", "OK", "Ok", "+8613800138000"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "messages", "status", "message-id", "messageId", "sid", "code", "message", "groupId", "id",
                "Code", "BizId", "Response", "Error", "SendStatusSet", "SerialNo",
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


SHAPED = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({}, optional={"status": JSON, "message-id": JSON, "messageId": JSON}), max_size=2
        ),
        "Code": JSON,
        "BizId": JSON,
        "Response": st.fixed_dictionaries(
            {},
            optional={
                "Error": JSON,
                "SendStatusSet": st.lists(
                    st.fixed_dictionaries(
                        {"PhoneNumber": st.sampled_from([MESSAGE.to, "13800138000", None, 7])},
                        optional={"Code": JSON, "SerialNo": JSON, "Message": JSON},
                    ),
                    max_size=2,
                ),
            },
        ),
    }
)


@given(status=st.integers(200, 599), content=JSON | SHAPED | st.binary(max_size=40))
def test_whatever_comes_is_a_verdict_and_no_acceptance_without_its_sign(status: int, content: Any) -> None:
    for format_, signs in (
        (TWILIO, (201,)),
        (VONAGE, range(200, 300)),
        (INFOBIP, range(200, 300)),
        (ALIYUN, range(200, 300)),
        (TENCENT, range(200, 300)),
    ):
        try:
            found = result(format_, status, content)
        except orjson.JSONEncodeError:
            return
        if found.verdict is Verdict.ACCEPTED:
            assert status in signs
            assert found.provider_message_id
        else:
            assert found.code
            assert found.reason
