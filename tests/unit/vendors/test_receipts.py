"""Each vendor's receipts: as its documentation has them, and whatever else may come."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.receipts.push import Heard, NotReceipts, Push
from services.api.receipts.vendors import FORMATS
from shared.domain.receipts import ReceiptStatus, digest_of
from shared.messages import ReceiptsMessage, WireReceipt

BATCH_ID = "0198c0de-0000-8000-8000-00000000abcd"
ONE, CALL = f"{BATCH_ID}:3:2", f"{BATCH_ID}:0-9"
MOBILE, NUMBER = "13900000001", "+8613900000001"
ARRIVED, FAILED, UNDER_WAY = ReceiptStatus.DELIVERED, ReceiptStatus.UNDELIVERED, ReceiptStatus.UNDER_WAY
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
AT_MS = round(1000 * datetime(2026, 11, 27, 8, 1, tzinfo=UTC).timestamp())
NO_TIMES = [
    None,
    7,
    "",
    "soon",
    "2026-13-01 00:00:00",
    "2026-11-27",
    "1969-12-31 23:59:59",
    "9999-12-31 23:59:59",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.000+0000",
    "0001-01-01T00:00:00+2300",
    "2026-11-27T08:01:00+99:00",
    "2026-11-27 08:01:00\0",
]


def told(body: bytes, kind: str = JSON, method: str = "POST", query: str = "") -> Push:
    return Push(method, f"https://sms.example.test/dlr?{query}", parse_qsl(query), {"content-type": kind}, body)


def as_json(content: Any) -> Push:
    return told(json.dumps(content).encode())


def as_form(fields: dict[str, str], query: str = "") -> Push:
    return told(urlencode(fields).encode(), FORM, query=query)


def read(vendor: str, push: Push) -> list[WireReceipt]:
    return FORMATS[vendor].read(push)


def one(vendor: str, push: Push) -> WireReceipt:
    (receipt,) = read(vendor, push)
    return receipt


# Alibaba Cloud

ALIYUN = {
    "phone_number": MOBILE,
    "send_time": "2026-11-27 16:00:00",
    "report_time": "2026-11-27 16:01:00",
    "success": True,
    "err_code": "DELIVERED",
    "err_msg": "用户接收成功",
    "sms_size": "1",
    "biz_id": "900619746936498440^0",
    "out_id": CALL,
}


def aliyun(**other: Any) -> WireReceipt:
    return one("aliyun", as_json([{**ALIYUN, **other}]))


def test_aliyun_tells_that_a_text_arrived_with_its_call_and_the_digest_of_its_number() -> None:
    assert aliyun() == WireReceipt(
        status=ARRIVED,
        reference=CALL,
        recipient=digest_of(BATCH_ID, NUMBER),
        message_id="900619746936498440^0",
        at_ms=AT_MS,
    )


def test_aliyun_tells_that_a_text_did_not_arrive_and_why() -> None:
    receipt = aliyun(success=False, err_code="MK:0001", err_msg="空号")
    assert (receipt.status, receipt.code, receipt.reason) == (FAILED, "MK:0001", "空号")


def test_aliyun_tells_of_single_texts_and_calls_in_one_push() -> None:
    push = as_json([ALIYUN, {**ALIYUN, "success": False, "out_id": f"{BATCH_ID}:3-3"}])
    assert [receipt.status for receipt in read("aliyun", push)] == [ARRIVED, FAILED]
    assert read("aliyun", as_json([])) == []


@pytest.mark.parametrize(
    "told_as", [MOBILE, f"86{MOBILE}", f"+86{MOBILE}", f"0086{MOBILE}", f" {MOBILE} ", int(MOBILE)]
)
def test_aliyun_may_write_a_number_of_mainland_china_with_its_country_and_without(told_as: object) -> None:
    assert aliyun(phone_number=told_as).recipient == digest_of(BATCH_ID, NUMBER)


@pytest.mark.parametrize("number", ["+85291234567", "+6591234567", "+447700900001", "+4915112345678", "+37012345678"])
def test_aliyun_writes_numbers_of_other_countries_as_they_were_sent(number: str) -> None:
    for told_as in (number, number[1:], f"00{number[1:]}"):
        assert aliyun(phone_number=told_as).recipient == digest_of(BATCH_ID, number)


@pytest.mark.parametrize("no_reference", [None, 7, "", "ref-0001", "\0", CALL.upper(), ["x"]])
def test_what_aliyun_gives_back_that_is_not_our_word_is_left_out_with_the_number(no_reference: object) -> None:
    receipt = aliyun(out_id=no_reference)
    assert (receipt.reference, receipt.recipient, receipt.message_id) == (None, None, ALIYUN["biz_id"])


@pytest.mark.parametrize("success", [None, "true", 1, 0, "", []])
def test_an_aliyun_entry_that_does_not_say_whether_it_arrived_is_no_receipt(success: object) -> None:
    with pytest.raises(NotReceipts, match=r"^success: true or false$"):
        aliyun(success=success)


def test_aliyuns_console_is_answered_and_its_pushes_are_read() -> None:
    checked = FORMATS["aliyun"].check(told(b"", method="GET"))
    assert checked == Heard(200, '{"code":0,"msg":"成功"}'.encode())
    assert FORMATS["aliyun"].check(as_json([ALIYUN])) is None


# Tencent Cloud

TENCENT = {
    "user_receive_time": "2026-11-27 16:01:00",
    "nationcode": "86",
    "mobile": MOBILE,
    "report_status": "SUCCESS",
    "errmsg": "DELIVRD",
    "description": "用户短信送达成功",
    "sid": "2019:538354087363571712",
    "ext": CALL,
}


def tencent(**other: Any) -> WireReceipt:
    return one("tencent", as_json([{**TENCENT, **other}]))


def test_tencent_tells_that_a_text_arrived() -> None:
    assert tencent() == WireReceipt(
        status=ARRIVED,
        reference=CALL,
        recipient=digest_of(BATCH_ID, NUMBER),
        message_id="2019:538354087363571712",
        at_ms=AT_MS,
    )


def test_tencent_tells_that_a_text_did_not_arrive_and_why() -> None:
    receipt = tencent(report_status="FAIL", errmsg="UNDELIV", description="用户短信送达失败")
    assert (receipt.status, receipt.code, receipt.reason) == (FAILED, "UNDELIV", "用户短信送达失败")


def test_tencent_without_our_word_tells_of_its_own_id() -> None:
    plain = {name: value for name, value in TENCENT.items() if name != "ext"}
    receipt = one("tencent", as_json([plain]))
    assert (receipt.reference, receipt.recipient, receipt.message_id) == (None, None, "2019:538354087363571712")


@pytest.mark.parametrize(
    ("nationcode", "mobile", "number"),
    [
        ("86", f"+86{MOBILE}", NUMBER),
        ("86", f"86{MOBILE}", NUMBER),
        ("", MOBILE, NUMBER),
        (None, MOBILE, NUMBER),
        (86, int(MOBILE), NUMBER),
        ("852", "91234567", "+85291234567"),
        ("65", "91234567", "+6591234567"),
        ("62", "81234567890", "+6281234567890"),
        ("62", "812345678901", "+62812345678901"),
        ("49", "15112345678", "+4915112345678"),
        ("49", "+4915112345678", "+4915112345678"),
        ("44", "00447700900001", "+447700900001"),
    ],
)
def test_tencent_writes_a_number_without_its_country(nationcode: object, mobile: object, number: str) -> None:
    assert tencent(nationcode=nationcode, mobile=mobile).recipient == digest_of(BATCH_ID, number)


@pytest.mark.parametrize("status", [None, "", "success", "DELIVRD", 1, True, ["SUCCESS"]])
def test_a_tencent_entry_with_another_status_is_no_receipt(status: object) -> None:
    with pytest.raises(NotReceipts, match=r"^report_status: SUCCESS or FAIL$"):
        tencent(report_status=status)


@pytest.mark.parametrize("number", [None, "", "unknown", "139****0001", [], {}, True, "1" * 30, "\ud800"])
@pytest.mark.parametrize(("read_with", "member"), [(aliyun, "phone_number"), (tencent, "mobile")])
def test_a_number_that_is_none_is_left_out(read_with: Any, member: str, number: object) -> None:
    if number == "\ud800":
        with pytest.raises(NotReceipts, match="not JSON"):
            read_with(**{member: number})
    else:
        receipt = read_with(**{member: number})
        assert (receipt.recipient, receipt.reference) == (None, CALL)


# Twilio

TWILIO = {
    "SmsSid": "SM00000000000000000000000000000001",
    "SmsStatus": "delivered",
    "MessageStatus": "delivered",
    "To": "+15005550009",
    "MessageSid": "SM00000000000000000000000000000001",
    "AccountSid": "AC00000000000000000000000000000001",
    "From": "+15005550006",
    "ApiVersion": "2010-04-01",
}


def twilio(query: str = f"reference={ONE}", **other: str) -> WireReceipt:
    return one("twilio", as_form({**TWILIO, **other}, query))


def test_twilio_tells_that_a_text_arrived_at_the_url_that_names_it() -> None:
    assert twilio() == WireReceipt(status=ARRIVED, reference=ONE, message_id=TWILIO["MessageSid"])


@pytest.mark.parametrize("status", ["undelivered", "failed", "canceled"])
def test_twilio_tells_that_a_text_did_not_arrive_and_why(status: str) -> None:
    receipt = twilio(MessageStatus=status, ErrorCode="30003", ErrorMessage="Unreachable destination handset")
    assert (receipt.status, receipt.code) == (FAILED, "30003")
    assert receipt.reason == "Unreachable destination handset"


@pytest.mark.parametrize("status", ["queued", "sending", "sent", "accepted", "scheduled", "of tomorrow", "DELIVERED "])
def test_any_other_status_of_twilios_is_one_on_the_way(status: str) -> None:
    receipt = twilio(MessageStatus=status, ErrorCode="30003")
    assert (receipt.status, receipt.code) == (UNDER_WAY, None)


def test_twilio_may_tell_the_status_by_its_older_name_and_in_json() -> None:
    older = {name: value for name, value in TWILIO.items() if name != "MessageStatus"}
    assert one("twilio", as_form(older)).status is ARRIVED
    assert one("twilio", as_json(TWILIO)).status is ARRIVED


@pytest.mark.parametrize("query", ["", "reference=", "reference=ref-0001", f"other={ONE}", f"reference={ONE}%00"])
def test_twilio_without_our_word_in_the_url_tells_of_its_own_id(query: str) -> None:
    assert twilio(query) == WireReceipt(status=ARRIVED, message_id=TWILIO["MessageSid"])


# Vonage

VONAGE = {
    "msisdn": "447700900001",
    "to": "AcmeInc",
    "network-code": "12345",
    "messageId": "0A00000012345678ABCD",
    "price": "0.03330000",
    "status": "delivered",
    "scts": "2611270801",
    "err-code": "0",
    "api-key": "abcd1234",
    "client-ref": ONE,
    "message-timestamp": "2026-11-27 08:01:00",
}


def vonage(**other: str) -> WireReceipt:
    return one("vonage", as_form({**VONAGE, **other}))


@pytest.mark.parametrize(
    "push",
    [as_form(VONAGE), as_json(VONAGE), told(b"", "", "GET", urlencode(VONAGE))],
    ids=["form", "JSON", "query"],
)
def test_vonage_tells_that_a_part_arrived_in_a_form_in_json_or_in_the_query(push: Push) -> None:
    assert one("vonage", push) == WireReceipt(
        status=ARRIVED, reference=ONE, message_id="0A00000012345678ABCD", at_ms=AT_MS, is_of_a_part=True
    )


@pytest.mark.parametrize("status", ["expired", "failed", "rejected", "Failed"])
def test_vonage_tells_that_a_part_did_not_arrive_and_why(status: str) -> None:
    receipt = vonage(status=status, **{"err-code": "3"})
    assert (receipt.status, receipt.code, receipt.reason) == (FAILED, "3", status)
    assert receipt.is_of_a_part


@pytest.mark.parametrize("status", ["accepted", "buffered", "unknown", "", "of tomorrow"])
def test_any_other_status_of_vonages_is_one_on_the_way(status: str) -> None:
    receipt = vonage(status=status, **{"err-code": "1"})
    assert (receipt.status, receipt.code, receipt.reason) == (UNDER_WAY, None, None)


def test_vonage_without_a_status_tells_no_receipt() -> None:
    with pytest.raises(NotReceipts, match=r"^there is no status$"):
        read("vonage", as_form({"msisdn": "447700900001", "text": "STOP"}))
    with pytest.raises(NotReceipts, match=r"^there is no status$"):
        read("vonage", told(b"", "", "GET"))


# Infobip


def infobip_entry(group: object, number: object, name: str, **other: Any) -> dict[str, Any]:
    return {
        "bulkId": "BULK-1",
        "messageId": ONE,
        "to": "447700900001",
        "sentAt": "2026-11-27T08:00:59.000+0000",
        "doneAt": "2026-11-27T08:01:00.000+0000",
        "messageCount": 1,
        "price": {"pricePerMessage": 0.01, "currency": "EUR"},
        "status": {"groupId": group, "groupName": "G", "id": number, "name": name, "description": f"About {name}"},
        "error": {"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR", "description": "No Error"},
        **other,
    }


TO_HANDSET = infobip_entry(3, 5, "DELIVERED_TO_HANDSET")
UNKNOWN_SUBSCRIBER = {"groupId": 1, "id": 1, "name": "EC_UNKNOWN_SUBSCRIBER", "description": "Unknown Subscriber"}


def infobip(entry: dict[str, Any]) -> WireReceipt:
    return one("infobip", as_json({"results": [entry]}))


def test_infobip_tells_that_a_text_is_on_the_handset() -> None:
    assert infobip(TO_HANDSET) == WireReceipt(status=ARRIVED, reference=ONE, message_id=ONE, at_ms=AT_MS)


@pytest.mark.parametrize(
    ("group", "number", "name"),
    [
        (1, 3, "PENDING_WAITING_DELIVERY"),
        (1, 7, "PENDING_ENROUTE"),
        (1, 26, "PENDING_ACCEPTED"),
        (3, 2, "DELIVERED_TO_OPERATOR"),
        (4, 29, "EXPIRED_DLR_UNKNOWN"),
        (0, 0, "ACCEPTED"),
        (6, 99, "OF_TOMORROW"),
        (None, None, "NONE"),
        ("3", 5, "A_TEXT"),
    ],
)
def test_what_infobip_tells_of_a_text_on_its_way_is_not_the_last_word(group: object, number: object, name: str) -> None:
    receipt = infobip(infobip_entry(group, number, name))
    assert (receipt.status, receipt.code, receipt.reason) == (UNDER_WAY, None, None)


@pytest.mark.parametrize(
    ("group", "number", "name"),
    [(2, 9, "UNDELIVERABLE_NOT_DELIVERED"), (4, 15, "EXPIRED_EXPIRED"), (5, 6, "REJECTED_NETWORK")],
)
def test_infobip_tells_that_a_text_did_not_arrive_and_why(group: int, number: int, name: str) -> None:
    receipt = infobip(infobip_entry(group, number, name))
    assert (receipt.status, receipt.code, receipt.reason) == (FAILED, name, f"About {name}")


def test_what_the_handset_said_goes_before_infobips_own_status() -> None:
    receipt = infobip(infobip_entry(2, 9, "UNDELIVERABLE_NOT_DELIVERED", error=UNKNOWN_SUBSCRIBER))
    assert (receipt.code, receipt.reason) == ("EC_UNKNOWN_SUBSCRIBER", "Unknown Subscriber")
    nameless = {"id": 1, "permanent": True}
    receipt = infobip(infobip_entry(2, 9, "UNDELIVERABLE_NOT_DELIVERED", error=nameless))
    assert (receipt.code, receipt.reason) == ("1", None)


@pytest.mark.parametrize("error", [None, "E", [], {}])
def test_an_infobip_entry_without_an_error_has_its_status(error: object) -> None:
    assert infobip(infobip_entry(2, 9, "UNDELIVERABLE_NOT_DELIVERED", error=error)).code is not None


@pytest.mark.parametrize(
    "content", [[], [TO_HANDSET], {}, {"results": None}, {"results": {}}, {"results": [7]}, {"results": [{}]}, 7, None]
)
def test_what_has_no_results_with_statuses_is_no_receipt_of_infobip(content: object) -> None:
    with pytest.raises(NotReceipts):
        read("infobip", as_json(content))


def test_a_time_of_infobips_has_its_zone() -> None:
    east = {**TO_HANDSET, "doneAt": "2026-11-27T10:01:00.000+0200"}
    assert infobip(east).at_ms == AT_MS
    assert infobip({**TO_HANDSET, "doneAt": "2026-11-27T08:01:00.250+0000"}).at_ms == AT_MS + 250


# The plain format, and what a gateway of type `http` has its adapter say

PLAIN = {"reference": ONE, "message_id": "id-1", "status": "delivered", "at": "2026-11-27T08:01:00Z"}


def plain(**other: Any) -> WireReceipt:
    return one("plain", as_json({**PLAIN, **other}))


@pytest.mark.parametrize("vendor", ["plain", "http"])
@pytest.mark.parametrize("content", [PLAIN, [PLAIN]], ids=["object", "array"])
def test_a_plain_receipt_is_an_object_or_one_of_an_array(vendor: str, content: object) -> None:
    expected = WireReceipt(status=ARRIVED, reference=ONE, message_id="id-1", at_ms=AT_MS)
    assert read(vendor, as_json(content)) == [expected]


def test_a_plain_receipt_tells_that_a_text_did_not_arrive_and_why() -> None:
    receipt = plain(status="Undelivered", code="absent", message="The handset was off")
    assert (receipt.status, receipt.code, receipt.reason) == (FAILED, "absent", "The handset was off")


@pytest.mark.parametrize("status", ["accepted", "sent", "", "of tomorrow"])
def test_any_other_status_of_a_plain_receipt_is_one_on_the_way(status: str) -> None:
    assert plain(status=status, code="x").code is None
    assert plain(status=status).status is UNDER_WAY


@pytest.mark.parametrize("other", [{"reference": None}, {"message_id": None}, {"reference": "ref", "message_id": 7}])
def test_a_plain_receipt_needs_one_of_reference_and_message_id(other: dict[str, Any]) -> None:
    assert plain(**other).status is ARRIVED
    with pytest.raises(NotReceipts, match=r"^a receipt needs the message's reference"):
        plain(reference="ref-0001", message_id="")


@pytest.mark.parametrize("status", [None, 1, True, ["delivered"]])
def test_a_plain_receipt_without_a_status_is_none(status: object) -> None:
    with pytest.raises(NotReceipts, match=r"^status: "):
        plain(status=status)


def test_a_time_of_a_plain_receipt_has_its_zone() -> None:
    assert plain(at="2026-11-27T16:01:00+08:00").at_ms == AT_MS
    assert plain(at="2026-11-27T03:01:00-0500").at_ms == AT_MS


# All of them

READERS: dict[str, Any] = {
    "aliyun": lambda **other: aliyun(**{"success": False, **other}),
    "tencent": lambda **other: tencent(**{"report_status": "FAIL", **other}),
    "twilio": lambda **other: twilio(**{"MessageStatus": "failed", **other}),
    "vonage": lambda **other: vonage(**{"status": "failed", **other}),
    "infobip": lambda **other: infobip(infobip_entry(2, 9, "", **other)),
    "plain": lambda **other: plain(**{"status": "undelivered", **other}),
}
TIMES = {
    "aliyun": "report_time",
    "tencent": "user_receive_time",
    "vonage": "message-timestamp",
    "infobip": "doneAt",
    "plain": "at",
}
WORDS = {
    "aliyun": ("err_code", "err_msg"),
    "tencent": ("errmsg", "description"),
    "twilio": ("ErrorCode", "ErrorMessage"),
    "plain": ("code", "message"),
}
IDS = {"aliyun": "biz_id", "tencent": "sid", "twilio": "MessageSid", "vonage": "messageId", "plain": "message_id"}


@pytest.mark.parametrize("vendor", TIMES)
@pytest.mark.parametrize("time", NO_TIMES)
def test_a_time_that_is_none_or_that_nothing_can_hold_is_left_out(vendor: str, time: object) -> None:
    value = str(time) if vendor == "vonage" else time
    assert READERS[vendor](**{TIMES[vendor]: value}).at_ms is None


@pytest.mark.parametrize("vendor", WORDS)
@pytest.mark.parametrize("written", [MOBILE, NUMBER, "139-0000-0001", "139 0000 0001", "+86 139\u200b0000\u200b0001"])
def test_no_number_is_shown_in_full_in_code_or_reason(vendor: str, written: str) -> None:
    code, reason = WORDS[vendor]
    receipt = READERS[vendor](**{code: f"to {written}", reason: f"{written} is no subscriber"})
    for shown in (receipt.code, receipt.reason):
        assert "****" in shown
        assert written not in shown
        assert "00000001" not in "".join(filter(str.isdigit, shown))


def test_no_number_is_shown_in_full_in_what_vonage_and_infobip_say() -> None:
    assert vonage(status="failed", **{"err-code": MOBILE}).code == "139****0001"
    error = {"id": 1, "name": MOBILE, "description": f"{NUMBER} is unknown"}
    receipt = infobip(infobip_entry(2, 9, "", error=error))
    assert (receipt.code, receipt.reason) == ("139****0001", "+86139****0001 is unknown")


@pytest.mark.parametrize("vendor", WORDS)
def test_code_and_reason_have_an_end_and_only_what_can_be_shown(vendor: str) -> None:
    code, reason = WORDS[vendor]
    receipt = READERS[vendor](**{code: "\0x" * 1000, reason: "\r\n\x1b[y\u202e" * 1000})
    assert receipt.code == "x" * 64
    assert receipt.reason == ("[y" * 1000)[:240]


@pytest.mark.parametrize("vendor", [vendor for vendor in WORDS if vendor != "twilio"])
@pytest.mark.parametrize("value", [None, True, 1.5, [], {}, "", " ", "\0"])
def test_code_and_reason_that_are_no_words_are_left_out(vendor: str, value: object) -> None:
    code, reason = WORDS[vendor]
    receipt = READERS[vendor](**{code: value, reason: value})
    assert (receipt.status, receipt.code, receipt.reason) == (FAILED, None, None)


@pytest.mark.parametrize("vendor", IDS)
def test_an_id_has_an_end_and_only_what_can_be_shown(vendor: str) -> None:
    assert READERS[vendor](**{IDS[vendor]: "\0i\n" * 500}).message_id == "i" * 200


@pytest.mark.parametrize("vendor", ["aliyun", "tencent", "plain"])
def test_more_than_a_thousand_receipts_at_once_are_refused(vendor: str) -> None:
    entry = {"aliyun": ALIYUN, "tencent": TENCENT, "plain": PLAIN}[vendor]
    assert len(read(vendor, as_json([entry] * 1000))) == 1000
    with pytest.raises(NotReceipts, match=r"^more than 1000 receipts at once$"):
        read(vendor, as_json([entry] * 1001))


def test_more_than_a_thousand_results_at_once_are_refused() -> None:
    assert len(read("infobip", as_json({"results": [TO_HANDSET] * 1000}))) == 1000
    with pytest.raises(NotReceipts, match=r"^more than 1000 receipts at once$"):
        read("infobip", as_json({"results": [TO_HANDSET] * 1001}))


@pytest.mark.parametrize("vendor", ["twilio", "vonage"])
def test_a_form_with_more_fields_than_any_vendor_sends_is_refused(vendor: str) -> None:
    with pytest.raises(NotReceipts, match=r"^the body is no form of UTF-8$"):
        read(vendor, told(b"&".join(b"a=1" for _ in range(201)), FORM))


BROKEN = [b"", b"{", b"nothing", b"\xff", b'"\\ud800"', b"null", b"7", b'"text"', b"[1]", b"[[]]", b"[null]", b"NaN"]
SECRET_BODIES = [f'{{"n":"{MOBILE}"', f'"{MOBILE}"', f'[{{"success":"{MOBILE}"}}]', f'["{MOBILE}"]', MOBILE]


@pytest.mark.parametrize("vendor", FORMATS)
@pytest.mark.parametrize("body", BROKEN + [body.encode() for body in SECRET_BODIES])
def test_what_is_no_receipt_is_refused_in_a_sentence_that_quotes_nothing(vendor: str, body: bytes) -> None:
    with pytest.raises(NotReceipts) as refused:
        read(vendor, told(body))
    assert str(refused.value)
    assert MOBILE not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("vendor", FORMATS)
def test_a_body_that_is_nested_without_end_is_refused(vendor: str) -> None:
    for body in (b"[" * 100_000, b'{"results":' * 100_000, b"[" * 5000 + b"]" * 5000):
        with pytest.raises(NotReceipts):
            read(vendor, told(body))


@pytest.mark.parametrize("vendor", ["twilio", "vonage"])
@pytest.mark.parametrize("body", [b"\xff=1", b"no pair", b"a=1&b"])
def test_a_form_that_is_broken_is_refused(vendor: str, body: bytes) -> None:
    with pytest.raises(NotReceipts, match=r"^the body is no form of UTF-8$"):
        read(vendor, told(body, FORM))


def can_be_told(vendor: str, push: Push) -> None:
    """Read it as the api does; what is read can be published, and read again, and holds no control character."""
    try:
        receipts = read(vendor, push)
    except (NotReceipts, UnicodeEncodeError):
        return
    message = ReceiptsMessage(provider=vendor, received_at_ms=1, receipts=receipts)
    body = message.model_dump_json(exclude_none=True, exclude_defaults=True).encode()
    assert ReceiptsMessage.model_validate_json(body) == message
    for receipt in receipts:
        words = filter(None, (receipt.code, receipt.reason, receipt.message_id, receipt.reference))
        assert all(word.isprintable() for word in words)


ODD_WORDS = [
    "", "\0", "\u202e", CALL, ONE, MOBILE, NUMBER, "86", "delivered", "failed", "SUCCESS", "FAIL",
    *filter(None, NO_TIMES),
]  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([str(w) for w in ODD_WORDS])
)
NAMES = sorted({*ALIYUN, *TENCENT, *TWILIO, *VONAGE, *TO_HANDSET, *PLAIN, *UNKNOWN_SUBSCRIBER, "code", "message"})
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
)
TEXTS = st.text() | st.sampled_from([str(word) for word in ODD_WORDS])


@pytest.mark.parametrize("vendor", FORMATS)
@settings(max_examples=30)
@given(body=st.binary() | st.text().map(str.encode), kind=st.sampled_from([FORM, JSON, "", "text/plain; charset=x"]))
def test_whatever_bytes_come_nothing_but_a_refusal_comes_of_them(vendor: str, body: bytes, kind: str) -> None:
    can_be_told(vendor, told(body, kind))


@pytest.mark.parametrize("vendor", FORMATS)
@settings(max_examples=30)
@given(content=ANYTHING)
def test_whatever_json_comes_nothing_but_a_refusal_comes_of_it(vendor: str, content: Any) -> None:
    can_be_told(vendor, as_json(content))
    can_be_told(vendor, as_json({"results": [content]}))


def entry_of(vendor: str) -> dict[str, Any]:
    """A receipt that did not arrive, in JSON, without its parts that are fixed."""
    entries: dict[str, dict[str, Any]] = {
        "aliyun": {**ALIYUN, "success": False},
        "tencent": {**TENCENT, "report_status": "FAIL"},
        "twilio": {**TWILIO, "MessageStatus": "failed"},
        "vonage": {**VONAGE, "status": "failed"},
        "infobip": infobip_entry(2, 9, "UNDELIVERABLE_NOT_DELIVERED", error=UNKNOWN_SUBSCRIBER),
        "plain": {**PLAIN, "status": "undelivered"},
    }
    return entries["plain" if vendor == "http" else vendor]


@pytest.mark.parametrize("vendor", FORMATS)
@settings(max_examples=30)
@given(data=st.data())
def test_whatever_a_member_of_a_receipt_is_nothing_but_a_refusal_comes_of_it(vendor: str, data: Any) -> None:
    entry = entry_of(vendor)
    entry[data.draw(st.sampled_from(sorted(entry)))] = data.draw(ANYTHING)
    whole = {"infobip": {"results": [entry]}, "twilio": entry, "vonage": entry}.get(vendor, [entry])
    can_be_told(vendor, as_json(whole))


@pytest.mark.parametrize("vendor", ["twilio", "vonage"])
@settings(max_examples=30)
@given(fields=st.dictionaries(st.sampled_from(NAMES), TEXTS), query=st.dictionaries(st.just("reference"), TEXTS))
def test_whatever_a_form_or_query_says_nothing_but_a_refusal_comes_of_it(
    vendor: str, fields: dict[str, str], query: dict[str, str]
) -> None:
    can_be_told(vendor, as_form(fields, urlencode(query)))
    can_be_told(vendor, told(b"", "", "GET", urlencode(fields)))


@pytest.mark.parametrize("surrogate", ["\udcff", f"{MOBILE}\udfff"])
def test_half_a_character_in_a_query_is_left_out_or_refused(surrogate: str) -> None:
    fields = {**VONAGE, "status": "failed", "err-code": surrogate, "messageId": surrogate, "client-ref": surrogate}
    push = Push("GET", "https://sms.example.test/", list(fields.items()), {}, b"")
    can_be_told("vonage", push)
    can_be_told("twilio", Push("POST", "https://sms.example.test/", [("reference", surrogate)], {}, b"{}"))


@pytest.mark.parametrize("vendor", FORMATS)
def test_only_aliyun_tries_out_whether_we_are_there(vendor: str) -> None:
    assert (FORMATS[vendor].check(told(b"", method="GET")) is not None) == (vendor == "aliyun")
    assert FORMATS[vendor].check(told(b"")) is None


@pytest.mark.parametrize(
    ("vendor", "heard"),
    [
        ("aliyun", Heard(200, '{"code":0,"msg":"成功"}'.encode())),
        ("tencent", Heard(200, b'{"result":0,"errmsg":"OK"}')),
        ("twilio", Heard(204, b"")),
        ("vonage", Heard(200, b"{}")),
        ("infobip", Heard(204, b"")),
        ("plain", Heard(200, b'{"success":true}')),
        ("http", Heard(200, b'{"success":true}')),
    ],
)
def test_each_vendor_hears_what_it_waits_for(vendor: str, heard: Heard) -> None:
    assert FORMATS[vendor].heard == heard
