"""Our requests are those that the vendors' own SDKs make: `wire.json` holds what was seen of theirs on a socket."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from services.sender.providers.gateway import Format, TextMessage
from services.sender.providers.plain.classify import CodeTable
from services.sender.providers.plain.format import PlainFormat
from services.sender.providers.vendors import acs3, tc3
from services.sender.providers.vendors.aliyun import AliyunFormat
from services.sender.providers.vendors.configured import ConfiguredFormat, Heard, Sent
from services.sender.providers.vendors.infobip import InfobipFormat
from services.sender.providers.vendors.tencent import TencentFormat
from services.sender.providers.vendors.twilio import TwilioFormat
from services.sender.providers.vendors.vonage import VonageFormat
from shared.domain.outcome import Verdict
from shared.providers import TemplateMapping
from shared.signatures import VonageSigning

WIRE: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("wire.json").read_text())
SIGNED: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("signatures.json").read_text())
NOW = datetime(2026, 11, 27, 8, tzinfo=UTC)
ACCOUNT = "AC00000000000000000000000000000001"
TOKEN = "faketoken0123456789abcdef01234567"
NOT_OURS = {"StatusCallback", "ValidityPeriod"}
HOST = "http://127.0.0.1:18080"


BATCH = "01a220c9-1a0b-8803-bff9-7096fa3e6c1d"
SIGN_NAME = "测试签名"
NAMED = {
    7: TemplateMapping(code="SMS_000000001", params={"code": "code", "who": "name"}),
    8: TemplateMapping(code="S8"),
}
ORDERED = {7: TemplateMapping(code="1000001", params=["code", "minutes"]), 8: TemplateMapping(code="8")}


def aliyun(endpoint: str = HOST) -> AliyunFormat:
    key = SIGNED["aliyun-acs3-send"]["key"]
    return AliyunFormat(tuple(key), SIGN_NAME, NAMED, endpoint, lambda: "00112233445566778899aabbccddeeff")


def tencent(endpoint: str = HOST) -> TencentFormat:
    key = tuple(SIGNED["tencent-tc3-a"]["key"])
    return TencentFormat(key, ("1400000001", SIGN_NAME), ORDERED, endpoint=endpoint)


def filled(row: int = 1, template_id: int | None = 7, to: str = "", **variables: str) -> TextMessage:
    """A message of a template."""
    to = to or f"+861390000000{row}"
    return TextMessage(f"{BATCH}:{row}", to, "text", template_id=template_id, variables=variables)


def sent(format_: Format, *messages: TextMessage) -> tuple[dict[str, str], dict[str, str], bytes]:
    """What is comparable, the headers and the body."""
    request = format_.request(messages, NOW)
    headers = {name.lower(): value for name, value in request.headers}
    return {"method": request.method, "target": request.url.removeprefix(HOST)}, headers, request.body


@pytest.mark.parametrize(
    ("name", "user", "secret", "sender", "text"),
    [
        ("twilio-wire-create-from", ACCOUNT, TOKEN, "+15005550006", "验证码 482913 & more=yes ~*"),
        ("twilio-wire-create-messaging-service", ACCOUNT, TOKEN, "MG00000000000000000000000000000001", "hi"),
        ("twilio-wire-create-api-key", "SK00000000000000000000000000000002", "fakeapikeysecret", "Acme", "hi"),
    ],
)
def test_twilio(name: str, user: str, secret: str, sender: str, text: str) -> None:
    theirs = WIRE[name]
    ours, headers, body = sent(
        TwilioFormat(ACCOUNT, user, secret, sender, HOST), TextMessage("b:0", "+15005550009", text)
    )
    assert ours == {"method": theirs["method"], "target": theirs["target"]}
    assert headers["authorization"] == theirs["authorization"]
    assert headers["content-type"] == theirs["content_type"]
    fields = {field: value for field, value in parse_qsl(theirs["body"]) if field not in NOT_OURS}
    assert dict(parse_qsl(body.decode(), strict_parsing=True)) == fields


def test_vonage() -> None:
    theirs = WIRE["vonage-wire-basic"]
    format_ = VonageFormat("abcd1234", "FakeVonageSecret01", "AcmeInc", HOST)
    ours, headers, body = sent(format_, TextMessage("ref-0001", "+447700900001", "Code 482913 & more=yes", 3))
    assert ours == {"method": theirs["method"], "target": theirs["target"]}
    assert headers["authorization"] == theirs["authorization"]
    assert headers["content-type"] == theirs["content_type"]
    fields = dict(parse_qsl(body.decode(), strict_parsing=True))
    assert fields == {**dict(parse_qsl(theirs["body"])), "client-ref": "ref-0001:3"}


@pytest.mark.parametrize(("text", "kind"), [("Price: 5 € [ok]", "text"), ("验证码", "unicode"), ("naïve", "unicode")])
def test_vonage_is_told_which_alphabet_a_text_takes(text: str, kind: str) -> None:
    _, _, body = sent(VonageFormat("k", "s", "Acme"), TextMessage("b:0", "+447700900001", text))
    fields = dict(parse_qsl(body.decode(), strict_parsing=True))
    assert (fields["text"], fields["type"]) == (text, kind)


def test_infobip() -> None:
    theirs = WIRE["infobip-wire-send"]
    key = theirs["authorization"].removeprefix("App ")
    messages = [TextMessage(f"msg-000{n}", f"+44770090000{n}", "Code 482913 验证码") for n in (1, 2)]
    ours, headers, body = sent(InfobipFormat(key, "AcmeInc", HOST), *messages)
    assert ours == {"method": theirs["method"], "target": theirs["target"]}
    assert headers["authorization"] == theirs["authorization"]
    assert headers["content-type"] == theirs["content_type"]
    assert _each(json.loads(body)) == _each(json.loads(theirs["body"]))


def test_infobips_id_is_of_one_attempt() -> None:
    messages = [TextMessage("b:7", "+447700900001", "x", attempt) for attempt in (1, 2)]
    bodies = [json.loads(sent(InfobipFormat("k", "Acme", HOST), message)[2]) for message in messages]
    ids = [body["messages"][0]["destinations"][0]["messageId"] for body in bodies]
    assert ids == ["b:7:1", "b:7:2"]


@pytest.mark.parametrize("method", ["md5-hash", "md5", "sha1", "sha256", "sha512"])
def test_vonage_signed(method: str) -> None:
    seen = SIGNED["vonage-sig-send"]
    format_ = VonageFormat("abcd1234", VonageSigning(seen["secret"], method), "AcmeInc", HOST)
    _, headers, body = sent(format_, TextMessage("ref-0001", "+447700900001", "Code 482913 & more=yes"))
    fields = dict(parse_qsl(body.decode(), strict_parsing=True))
    assert fields.pop("sig") == VonageSigning(seen["secret"], method).of(fields)
    assert fields == {**seen["fields"], "client-ref": "ref-0001:1"}
    assert "authorization" not in headers


def test_aliyuns_call_to_one() -> None:
    seen = SIGNED["aliyun-acs3-wire-sendsms"]
    ours, headers, body = sent(aliyun(), filled(code="482913", who="a b*~+/&"))
    assert ours["method"] == "POST"
    assert query_of(ours["target"]) == {**query_of(seen["target"]), "OutId": f"{BATCH}:1-1"}
    assert body == b""
    assert _comparable(headers) == _comparable(seen["headers"])


def test_aliyuns_call_to_several_that_are_filled_differently() -> None:
    format_ = AliyunFormat(
        ("id", "secret"), SIGN_NAME, NAMED | {7: TemplateMapping(code="SMS_000000001", params={"code": "code"})}, HOST
    )
    seen = SIGNED["aliyun-acs3-wire-sendbatchsms"]
    ours, headers, body = sent(format_, filled(2, to="+8613900000001", code="1111"), filled(2, code="2222"))
    assert query_of(ours["target"]) == {**query_of(seen["target"]), "OutId": f"{BATCH}:2-2"}
    assert dict(parse_qsl(body.decode(), strict_parsing=True)) == dict(parse_qsl(seen["body"]))
    for name in ("x-acs-action", "content-type", "x-acs-content-sha256"):
        assert headers[name] == seen["headers"][name]


def test_aliyuns_signature_is_of_what_is_sent() -> None:
    seen = SIGNED["aliyun-acs3-send"]
    format_ = AliyunFormat(
        tuple(seen["key"]), SIGN_NAME, {7: TemplateMapping(code="SMS_000000001", params={"code": "code"})},
        nonce=lambda: seen["headers"]["x-acs-signature-nonce"],
    )  # fmt: skip
    request = format_.request([filled(code="482913")], NOW)
    query = seen["canonical_query"].replace("ref-0001", quote(f"{BATCH}:1-1", safe=""))
    assert request.url == f"https://dysmsapi.aliyuncs.com/?{query}"
    headers = {name.lower(): value for name, value in request.headers}
    signed = {**seen["headers"], "content-type": headers["content-type"]}
    assert headers["authorization"] == acs3.authorization(*seen["key"], query, signed, b"")


def test_aliyuns_call_to_several_that_are_filled_alike() -> None:
    messages = [filled(1, code="1", who="Li"), filled(2, to="+85251234567", code="1", who="Li")]
    ours, headers, _ = sent(aliyun(), *messages)
    fields = query_of(ours["target"])
    assert headers["x-acs-action"] == "SendSms"
    assert (fields["PhoneNumbers"], fields["OutId"]) == ("13900000001,85251234567", f"{BATCH}:1-2")


def test_a_template_without_variables_is_sent_without_any() -> None:
    ours, _, _ = sent(aliyun(), filled(template_id=8, name="not asked for"))
    assert query_of(ours["target"]).keys() == {"OutId", "PhoneNumbers", "SignName", "TemplateCode"}
    _, _, body = sent(tencent(), filled(template_id=8, name="not asked for"))
    assert json.loads(body)["TemplateParamSet"] == []


def test_aliyuns_nonces_differ() -> None:
    format_ = AliyunFormat(("id", "secret"), SIGN_NAME, NAMED)
    nonces = {sent(format_, filled(template_id=8))[1]["x-acs-signature-nonce"] for _ in range(100)}
    assert len(nonces) == 100


def test_tencent() -> None:
    seen = SIGNED["tencent-wire-tc3-post"]
    ours, headers, body = sent(tencent(), *(filled(row, code="482913", minutes="5") for row in (1, 2)))
    assert ours == {"method": "POST", "target": "/"}
    assert json.loads(body) == {**json.loads(seen["body"]), "SessionContext": f"{BATCH}:1-2"}
    assert headers["content-type"] == seen["headers"]["content-type"]
    assert {name: value for name, value in headers.items() if name.startswith("x-tc-")} == seen["x"]


def test_tencents_signature_is_of_what_is_sent() -> None:
    request = tencent("https://sms.tencentcloudapi.com").request([filled(code="482913", minutes="5")], NOW)
    expected = tc3.authorization(
        *SIGNED["tencent-tc3-a"]["key"],
        {"content-type": "application/json", "host": "sms.tencentcloudapi.com"},
        request.body,
        1795766400,
    )
    assert dict(request.headers)["Authorization"] == expected


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (TextMessage("b:0", "+8613900000001", "a text"), "template_not_mapped"),
        (filled(template_id=9), "template_not_mapped"),
        (filled(code="1"), "missing_variable"),
    ],
)
@pytest.mark.parametrize("format_", [aliyun(), tencent()])
def test_what_a_vendor_has_no_template_for_is_refused(format_: Format, message: TextMessage, code: str) -> None:
    refusal = format_.unsendable(message)
    assert refusal is not None
    assert (refusal.verdict, refusal.code, refusal.status) == (Verdict.REFUSED, code, None)
    assert refusal.reason
    assert format_.may_be_of_one(refusal)
    assert format_.share_key(message) is None


def test_a_number_that_aliyun_would_take_for_another_is_refused() -> None:
    refusal = aliyun().unsendable(filled(to="+15005550009", code="1", who="Li"))
    assert refusal is not None
    assert (refusal.verdict, refusal.code) == (Verdict.REFUSED, "number_not_supported")


def test_what_may_share_a_call() -> None:
    for format_ in (aliyun(), tencent()):
        first, other, without = (
            filled(1, code="1", who="a", minutes="5"),
            filled(2, code="2", who="a", minutes="5"),
            filled(template_id=8),
        )
        assert format_.unsendable(first) is None
        assert format_.share_key(first) == format_.share_key(first._replace(to="+8613900000009"))
        assert format_.share_key(first) != format_.share_key(without)
        # A call to Tencent has one set of values.
        assert (format_.share_key(first) == format_.share_key(other)) is isinstance(format_, AliyunFormat)
    abroad = filled(1, to="+85251234567", code="1", minutes="5")
    assert tencent().share_key(abroad) != tencent().share_key(filled(1, code="1", minutes="5"))


@pytest.mark.parametrize(
    ("format_", "other"),
    [
        (aliyun(), filled(template_id=8)),
        (tencent(), filled(template_id=8)),
        (tencent(), filled(code="2", minutes="5")),
    ],
)
def test_what_may_not_share_a_call_has_no_request(format_: Format, other: TextMessage) -> None:
    with pytest.raises(ValueError, match="too many values"):
        format_.request([filled(code="1", who="Li", minutes="5"), other], NOW)


@pytest.mark.parametrize(
    ("to", "number"),
    [("+8613900000001", "13900000001"), ("+862112345678", "862112345678"), ("+85251234567", "85251234567")],
)
def test_aliyuns_numbers(to: str, number: str) -> None:
    ours, _, _ = sent(aliyun(), filled(template_id=8, to=to))
    assert query_of(ours["target"])["PhoneNumbers"] == number


HEARD = Heard("id", None, None, frozenset(), {})
OF_TEXTS: list[Format] = [
    TwilioFormat(ACCOUNT, ACCOUNT, TOKEN, "Acme"),
    VonageFormat("k", "s", "Acme"),
    InfobipFormat("k", "Acme", HOST),
    ConfiguredFormat(Sent(HOST, "POST", "json", {}, {"to": "$to"}), HEARD),
    PlainFormat(HOST, CodeTable(), is_list=True),
]


@pytest.mark.parametrize("format_", OF_TEXTS, ids=lambda format_: type(format_).__name__)
def test_texts_may_share_a_call_whatever_they_are(format_: Format) -> None:
    messages = [TextMessage("b:0", "+8613900000001", "a text"), filled(code="1"), filled(template_id=9)]
    assert len({format_.share_key(message) for message in messages}) == 1
    assert not any(format_.unsendable(message) for message in messages)


@pytest.mark.parametrize(("make", "mappings"), [(AliyunFormat, ORDERED), (TencentFormat, NAMED)])
def test_variables_in_the_other_kind_are_refused_at_once(make: Any, mappings: Any) -> None:
    with pytest.raises(ValueError, match=r"templates\.7\.params: "):
        make(("id", "secret"), SIGN_NAME if make is AliyunFormat else ("1400000001", SIGN_NAME), mappings)


def query_of(target: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(target).query, strict_parsing=True))


def _comparable(headers: dict[str, str]) -> dict[str, str]:
    """What is signed of the request, but for what only the SDK says of itself."""
    return {
        name: value
        for name, value in headers.items()
        if name.startswith("x-acs-") and name != "x-acs-credentials-provider"
    }


def _each(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """A message for each destination: the SDK's has both numbers in one, for they have one text."""
    return [
        (
            message["sender"],
            {**destination, "messageId": destination["messageId"].partition(":")[0]},
            message["content"],
        )
        for message in body["messages"]
        for destination in message["destinations"]
    ]
