"""Any gateway by configuration: what it is sent, and what its answers mean."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from services.sender.providers.gateway import TextMessage
from services.sender.providers.vendors.configured import ConfiguredFormat, Heard, Sent
from services.sender.transports import HttpAnswer
from shared.domain.answers import AnswerClass
from shared.domain.outcome import CallResult, Verdict
from shared.providers import TemplateMapping

NOW = datetime(2026, 11, 27, 8, tzinfo=UTC)
MESSAGE = TextMessage("b:7", "+8613800138000", 'Save 50 $ & more: "ok" $to')
SENT = Sent(
    "https://gateway.example/$to_digits/send?key=$secret.key",
    "POST",
    "json",
    {"X-Key": "$secret.key", "X-Ref": "$reference"},
    {"to": ["$to_digits"], "sms": {"text": "$text", "price": "$$5", "parts": 3}},
    {"key": "s3/cret"},
)
HEARD = Heard(
    "data.0.msgid",
    "code",
    "msg",
    frozenset({"0", "OK"}),
    {"1001": AnswerClass.NUMBER, "1002": AnswerClass.ACCOUNT, "http_404": AnswerClass.UNAVAILABLE},
)


def result(content: Any, status: int = 200, heard: Heard = HEARD) -> CallResult:
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    found = ConfiguredFormat(SENT, heard).results(HttpAnswer(status, {}, body), [MESSAGE], NOW)
    assert isinstance(found, CallResult)
    return found


def test_a_json_body_may_be_nested_and_what_is_filled_in_is_no_template() -> None:
    request = ConfiguredFormat(SENT, HEARD).request([MESSAGE], NOW)
    assert request.method == "POST"
    assert request.url == "https://gateway.example/8613800138000/send?key=s3%2Fcret"
    assert dict(request.headers) == {"Content-Type": "application/json", "X-Key": "s3/cret", "X-Ref": "b:7"}
    sms = {"text": 'Save 50 $ & more: "ok" $to', "price": "$5", "parts": 3}
    assert orjson.loads(request.body) == {"to": ["8613800138000"], "sms": sms}


@pytest.mark.parametrize("body", ["form", "query"])
def test_fields_may_be_a_form_or_the_urls_query(body: Any) -> None:
    sent = replace(SENT, body=body, fields={"mobile": "$to", "content": "$text", "n": 1})
    request = ConfiguredFormat(sent, HEARD).request([MESSAGE], NOW)
    text = request.body.decode() if body == "form" else urlsplit(request.url).query
    fields = dict(parse_qsl(text, strict_parsing=True))
    assert fields.pop("key", "s3/cret") == "s3/cret"
    assert fields == {"mobile": "+8613800138000", "content": MESSAGE.text, "n": "1"}
    assert ("Content-Type" in dict(request.headers)) == (body == "form")


@pytest.mark.parametrize("wrong", ["$nobody", "$secret.other", "$", "$ to", "$TO"])
@pytest.mark.parametrize("place", ["url", "headers", "fields"])
def test_a_placeholder_that_there_is_not_is_refused(wrong: str, place: str) -> None:
    values: dict[str, Any] = {
        "url": f"https://gateway.example/{wrong}",
        "headers": {"X": wrong},
        "fields": {"a": [{"b": wrong}]},
    }
    with pytest.raises(ValueError, match="there is no"):
        ConfiguredFormat(replace(SENT, **{place: values[place]}), HEARD)


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "https://$to_digits.example/"},
        {"url": "https://$secret.key/"},
        {"url": "https://gateway.example/x#f"},
        {"headers": {"X": "$text"}},
        {"headers": {"X Y": "a"}},
        {"headers": {"X:Y": "a"}},
        {"fields": {"n": 10**20}},
    ],
)
def test_what_could_not_be_sent_is_refused_at_once(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"endpoint|header|fields"):
        ConfiguredFormat(replace(SENT, **fields), HEARD)


def test_a_content_type_that_is_given_is_the_only_one() -> None:
    sent = replace(SENT, headers={"content-type": "application/json; charset=utf-8"})
    request = ConfiguredFormat(sent, HEARD).request([MESSAGE], NOW)
    assert request.headers == (("content-type", "application/json; charset=utf-8"),)


def test_no_reason_shows_a_secret() -> None:
    found = result({"code": "1002", "msg": "Invalid key s3/cret"}, 401)
    assert (found.verdict, found.reason) == (Verdict.ACCOUNT, "Invalid key …")
    assert result({"code": "1002", "msg": "bad URL ?key=s3%2Fcret"}, 401).reason == "bad URL ?key=…"


def test_a_password_before_the_host_may_be_a_secret() -> None:
    sent = replace(SENT, url="https://user:$secret.key@gateway.example/send")
    assert ConfiguredFormat(sent, HEARD).request([MESSAGE], NOW).url == "https://user:s3%2Fcret@gateway.example/send"


@pytest.mark.parametrize("code", [0, "0", "OK"])
def test_accepted_is_a_2xx_with_a_code_that_accepts_and_an_id(code: object) -> None:
    found = result({"code": code, "data": [{"msgid": 17}]})
    assert (found.verdict, found.provider_message_id) == (Verdict.ACCEPTED, "17")


@pytest.mark.parametrize(
    ("content", "status", "verdict", "code"),
    [
        ({"code": 1001, "msg": "No such number"}, 200, Verdict.REFUSED, "1001"),
        ({"code": "1002"}, 200, Verdict.ACCOUNT, "1002"),
        ({"code": "1002"}, 500, Verdict.ACCOUNT, "1002"),
        ({}, 404, Verdict.NOT_SENT, "http_404"),
        ({"code": "77"}, 200, Verdict.UNCLEAR, "77"),
        ({"code": "77"}, 400, Verdict.REFUSED, "77"),
        ({"code": "0"}, 200, Verdict.UNCLEAR, "answer_not_understood"),
        ({"code": True}, 200, Verdict.UNCLEAR, "true"),
        ({"code": "0", "data": [{"msgid": "17"}]}, 429, Verdict.UNCLEAR, "answer_not_understood"),
        ({"code": "OK"}, 503, Verdict.UNCLEAR, "answer_not_understood"),
        ({"code": 1001, "data": [{"msgid": {"a": 1}}]}, 200, Verdict.UNCLEAR, "answer_not_understood"),
        ({"code": "0", "data": [{"msgid": 0}]}, 200, Verdict.UNCLEAR, "answer_not_understood"),
        ({"code": "0", "data": [{"msgid": "17"}]}, 500, Verdict.UNCLEAR, "answer_not_understood"),
        (b"<html>", 200, Verdict.UNCLEAR, "http_200"),
        ([], 200, Verdict.UNCLEAR, "http_200"),
        ({}, 503, Verdict.UNCLEAR, "http_503"),
        ({}, 401, Verdict.ACCOUNT, "http_401"),
    ],
)
def test_what_else_an_answer_means(content: Any, status: int, verdict: Verdict, code: str) -> None:
    found = result(content, status)
    assert (found.verdict, found.code) == (verdict, code)


def test_without_codes_that_accept_an_id_does() -> None:
    heard = replace(HEARD, accepted=frozenset(), code=None, id="id")
    assert result({"id": "a"}, heard=heard).provider_message_id == "a"
    assert result({"id": ""}, heard=heard).verdict is Verdict.UNCLEAR
    assert result({"id": "a"}, 400, heard).verdict is Verdict.UNCLEAR
    assert result({"id": 0}, 400, heard).verdict is Verdict.REFUSED
    assert result({"id": 0}, heard=heard).verdict is Verdict.UNCLEAR
    with_code = replace(heard, code="code")
    for code in ("1999", {"n": 7}, [7], 7.0, True):
        assert result({"id": "a", "code": code}, heard=with_code).verdict is Verdict.UNCLEAR
    for none in ("", None):
        assert result({"id": "a", "code": none}, heard=with_code).verdict is Verdict.ACCEPTED


def test_a_code_may_be_true() -> None:
    heard = replace(HEARD, code="success", accepted=frozenset({"true"}), id=None)
    assert result({"success": True}, heard=heard).verdict is Verdict.ACCEPTED
    assert result({"success": False}, heard=heard).verdict is Verdict.UNCLEAR


def test_a_gateway_may_tell_no_id() -> None:
    found = result({"code": "OK"}, heard=replace(HEARD, id=None))
    assert (found.verdict, found.provider_message_id) == (Verdict.ACCEPTED, None)


def test_no_reason_shows_the_number_or_the_text() -> None:
    found = result({"code": 1001, "msg": f"{MESSAGE.to}: {MESSAGE.text}"})
    assert found.reason == "+86138****8000: …"


TEMPLATES = {7: TemplateMapping(code="T-7", params={"who": "name"}), 8: TemplateMapping(code="T-8")}
BY_TEMPLATE = replace(SENT, fields={"tpl": "$template", "args": {"name": "$template.name"}})
OF_SEVEN = MESSAGE._replace(template_id=7, variables={"who": "李雷 $to", "other": "x"})


def test_a_template_goes_out_by_its_code_there_and_its_values_by_their_names() -> None:
    only_seven = {7: TEMPLATES[7]}
    format_ = ConfiguredFormat(BY_TEMPLATE, HEARD, only_seven)
    assert orjson.loads(format_.request([OF_SEVEN], NOW).body) == {"tpl": "T-7", "args": {"name": "李雷 $to"}}
    assert format_.unsendable(OF_SEVEN) is None
    refused = [OF_SEVEN._replace(template_id=None), OF_SEVEN._replace(template_id=8), OF_SEVEN._replace(variables={})]
    codes = [refusal.code for message in refused if (refusal := format_.unsendable(message))]
    assert codes == ["template_not_mapped", "template_not_mapped", "missing_variable"]
    assert ConfiguredFormat(SENT, HEARD).unsendable(OF_SEVEN) is None


@pytest.mark.parametrize("templates", [{}, TEMPLATES])
def test_a_value_that_a_template_does_not_have_is_refused_at_once(templates: dict[int, TemplateMapping]) -> None:
    with pytest.raises(ValueError, match=r"there is no \$template"):
        ConfiguredFormat(BY_TEMPLATE, HEARD, templates)


def test_no_reason_shows_a_templates_value() -> None:
    body = orjson.dumps({"code": "1001", "msg": "no such 李雷 $to"})
    format_ = ConfiguredFormat(BY_TEMPLATE, HEARD, {7: TEMPLATES[7]})
    found = format_.results(HttpAnswer(200, {}, body), [OF_SEVEN], NOW)
    assert isinstance(found, CallResult)
    assert found.reason is not None
    assert "李雷" not in found.reason
