"""From a body to the batch message, and from a wrong body to a pointer at what is wrong."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.intake.requests import check_schedule
from services.api.intake.validation import (
    JSON,
    JSON_LIKE_FORM,
    Prepared,
    Source,
    prepare,
    provider_test,
    urlencoded_form,
)
from services.api.serving.problems import Problem
from services.dispatcher.expand import expand
from shared.domain.states import State
from shared.ledger.intake import Content
from shared.messages import BATCH_TYPE, read_batch
from shared.topology import Lane

FORM = urlencoded_form(None)
TEST = provider_test("default", Lane.PRIORITY)
BATCH_ID = "01a2046e-6e47-8d1b-9e30-50dba6bdcba2"
WHOLE = {
    "recipients": ["+8613800138000", 13900139000, {"to": 13700137000, "variables": {"n": 1.5}}, {"to": "1"}],
    "content": "你好",
    "template_id": 7,
    "variables": {"name": "Li", "age": 3},
    "lane": "priority",
    "send_at": "2099-01-01T00:00:00Z",
    "expires_at": "2099-01-01T08:30:00+08:00",
    "reference": "r",
    "tags": ["spring", "双十一", "spring"],
    "on_unknown": "resend",
    "provider": "default",
}


def prepared(members: Any, source: Source = JSON) -> Prepared:
    return prepare(orjson.dumps(members), source, 100)


def problem(body: bytes | dict[str, Any], source: Source = JSON) -> Problem:
    with pytest.raises(Problem) as raised:
        prepare(body if isinstance(body, bytes) else orjson.dumps(body), source, 100)
    return raised.value


def test_the_message_says_all_that_the_request_said() -> None:
    batch = read_batch(BATCH_TYPE, prepared(WHOLE).message(BATCH_ID, 5))
    assert (batch.batch_id, batch.accepted_at_ms, batch.content, batch.template_id) == (BATCH_ID, 5, "你好", 7)
    assert batch.recipients == [
        "+8613800138000", "13900139000", {"to": "13700137000", "variables": {"n": "1.5"}}, "1",
    ]  # fmt: skip
    assert batch.variables == {"name": "Li", "age": "3"}
    assert (batch.lane, batch.on_unknown, batch.reference, batch.provider) == (Lane.PRIORITY, "resend", "r", "default")
    assert batch.tags == ["spring", "双十一"]
    assert (batch.send_at_ms, batch.expires_at_ms) == (4070908800000, 4070910600000)


def test_a_test_of_a_provider_is_a_batch_of_one_that_is_pinned_to_it() -> None:
    by_one = provider_test("one", Lane.PRIORITY)
    body = orjson.dumps({"to": 13800138000, "template_id": 7, "variables": {"code": 123}})
    batch = read_batch(BATCH_TYPE, prepare(body, by_one, 100, ("one", "two")).message(BATCH_ID, 5))
    assert (batch.recipients, batch.template_id, batch.variables) == (["13800138000"], 7, {"code": "123"})
    assert (batch.provider, batch.lane, batch.reference) == ("one", Lane.PRIORITY, "provider test")


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"content": "x"}, "/to"),
        ({"to": ["1"], "content": "x"}, "/to"),
        ({"to": "1"}, ""),
        ({"to": "1", "content": " "}, "/content"),
        ({"to": "1", "content": "x", "lane": "bulk"}, "/lane"),
        ({"to": "1", "content": "x", "recipients": ["2"]}, "/recipients"),
    ],
)
def test_what_a_test_of_a_provider_may_not_say_is_pointed_at(members: dict[str, Any], pointer: str) -> None:
    assert [flaw.pointer for flaw in problem(members, TEST).flaws] == [pointer]


def test_the_fingerprint_is_of_the_meaning_not_of_the_bytes() -> None:
    turned = {name: WHOLE[name] for name in reversed(WHOLE)} | {"variables": {"age": "3", "name": "Li"}}
    assert prepared(turned).fingerprint == prepared(WHOLE).fingerprint
    assert prepared({**WHOLE, "content": "你好!"}).fingerprint != prepared(WHOLE).fingerprint


def test_a_request_keeps_its_fingerprint_from_one_version_to_the_next() -> None:
    """Else one that is repeated across an upgrade, under its Idempotency-Key, is refused as another request."""
    short = {"recipients": ["1"], "content": "x"}
    assert prepared(short).fingerprint == "74abcb1c3b1694843874de1646bc7c23"
    assert prepared({**WHOLE, "tags": []}).fingerprint == "6f6995c230e926e7c4bad6bbf7efff96"


def test_defaults_mean_the_same_as_nothing() -> None:
    short = {"recipients": ["1"], "content": "x"}
    spelled = {
        **short,
        "lane": "bulk",
        "on_unknown": "hold",
        "provider": "default",
        "variables": {},
        "send_at": None,
        "tags": [],
    }
    assert prepared(short).fingerprint == prepared(spelled).fingerprint


def test_form_and_json_of_one_meaning_have_one_fingerprint() -> None:
    form = prepare(b"mobiles[]=1&mobiles[]=2&content=x", FORM, 100)
    like_form = prepared({"mobiles": "1,2", "content": "x"}, JSON_LIKE_FORM)
    assert form.fingerprint == like_form.fingerprint == prepared({"recipients": [1, "2"], "content": "x"}).fingerprint


BASE = {"recipients": ["1"], "content": "x"}


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({**BASE, "recipients": []}, "/recipients"),
        ({**BASE, "recipients": "1"}, "/recipients"),
        ({**BASE, "recipients": ["1"] * 101}, "/recipients"),
        ({**BASE, "recipients": ["1", True]}, "/recipients/1"),
        ({**BASE, "recipients": ["1", ["2"]]}, "/recipients/1"),
        ({**BASE, "recipients": ["1", {}]}, "/recipients/1/to"),
        ({**BASE, "recipients": ["1", {"to": []}]}, "/recipients/1/to"),
        ({**BASE, "recipients": ["1", {"to": "2", "name": "x"}]}, "/recipients/1/name"),
        ({**BASE, "recipients": ["1", {"to": "2", "variables": {"n": [1]}}]}, "/recipients/1/variables/n"),
        ({**BASE, "variables": {"n": True}}, "/variables/n"),
        ({**BASE, "variables": {"n": "\0"}}, "/variables/n"),
        ({**BASE, "content": "x" * 5001}, "/content"),
        ({**BASE, "content": "\0"}, "/content"),
        ({**BASE, "content": ""}, "/content"),
        ({**BASE, "content": " \r\n\u200b\ufeff"}, "/content"),
        ({**BASE, "content": 5}, "/content"),
        ({"recipients": ["1"]}, ""),
        ({**BASE, "template_id": 0}, "/template_id"),
        ({**BASE, "template_id": "5"}, "/template_id"),
        ({**BASE, "template_id": 2**63}, "/template_id"),
        ({**BASE, "lane": "fast"}, "/lane"),
        ({**BASE, "on_unknown": "drop"}, "/on_unknown"),
        ({**BASE, "provider": "other"}, "/provider"),
        ({**BASE, "reference": "x" * 256}, "/reference"),
        ({**BASE, "tags": "spring"}, "/tags"),
        ({**BASE, "tags": [str(number) for number in range(11)]}, "/tags"),
        *(({**BASE, "tags": ["a", tag]}, "/tags/1") for tag in ("", " a", "a ", "a\nb", "\0", "x" * 65, 7)),
        ({**BASE, "send_at": "2030-01-01T00:00:00"}, "/send_at"),
        ({**BASE, "send_at": 1893456000}, "/send_at"),
        ({**BASE, "send_at": "1893456000"}, "/send_at"),
        ({**BASE, "send_at": "2030-13-01T00:00:00Z"}, "/send_at"),
        ({**BASE, "send_at": "9999-12-31T23:59:59-23:00"}, "/send_at"),
        ({**BASE, "send_at": "2030-01-02T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z"}, ""),
        ({**BASE, "colour": "red"}, "/colour"),
    ],
)  # fmt: skip
def test_a_flaw_is_422_with_a_pointer_to_it(members: dict[str, Any], pointer: str) -> None:
    found = problem(members)
    assert found.status == 422
    assert [flaw.pointer for flaw in found.flaws] == [pointer]
    assert found.flaws[0].detail


def test_a_flaw_in_a_form_is_named_as_the_form_names_it() -> None:
    assert problem(b"content=x", FORM).flaws[0].pointer == "/mobiles"
    assert problem(b"mobiles=1&template_id=abc", FORM).flaws[0].pointer == "/template_id"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b'{"a":' * 100_000, b'{"content": "\xff"}', b'{"content": NaN}'],
)
def test_what_is_no_json_is_400(body: bytes) -> None:
    assert problem(body).status == 400


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"5"])
def test_json_that_is_no_object_is_422(body: bytes) -> None:
    assert problem(body).status == problem(body, JSON_LIKE_FORM).status == 422


def test_of_a_hundred_thousand_wrong_recipients_the_first_twenty_are_told() -> None:
    with pytest.raises(Problem) as raised:
        prepare(orjson.dumps({**BASE, "recipients": ["1", *[True] * 99_999], "lane": "fast"}), JSON, 100_000)
    assert [flaw.pointer for flaw in raised.value.flaws] == [f"/recipients/{row}" for row in range(1, 21)]


def test_all_flaws_of_a_batch_are_told_at_once() -> None:
    recipients = ["1", True, {"to": "2"}, {"to": [], "name": "x"}, *["3"] * 50, {}]
    wrong = {"recipients": recipients, "content": 5, "lane": "fast", "template_id": 0, "colour": "red"}
    assert {flaw.pointer for flaw in problem(wrong).flaws} == {
        "/recipients/1", "/recipients/3/to", "/recipients/3/name", "/recipients/54/to",
        "/content", "/lane", "/template_id", "/colour",
    }  # fmt: skip
    in_a_form = problem({"mobiles": [True, "1", True], "content": 5}, JSON_LIKE_FORM)
    assert [flaw.pointer for flaw in in_a_form.flaws] == ["/mobiles/0", "/mobiles/2", "/content"]


def test_no_number_and_no_text_comes_back_in_a_flaw() -> None:
    found = problem({"recipients": ["+8613800138000" * 9], "content": "secret" * 1000, "+8613800138000": 1})
    assert not any(word in f"{found.detail}{found.flaws}" for word in ("8613800138000", "secret"))


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text() | st.integers(-9, 2**63),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_any_json_is_prepared_or_a_problem(value: Any) -> None:
    for name in ("recipients", "variables", "send_at", "content"):
        body = orjson.dumps({**BASE, name: value})
        result: Prepared | Problem
        try:
            result = prepare(body, JSON, 100)
        except Problem as found:
            result = found
        assert (
            result.status == 422 if isinstance(result, Problem) else read_batch(BATCH_TYPE, result.message(BATCH_ID, 1))
        )


@pytest.mark.parametrize("bad", [None, "", " ", 2.5, "1.38E+10", "2" * 65, "2\0", {"to": None}, {"to": ""}])
def test_one_bad_recipient_ends_its_own_row_and_no_other(bad: object) -> None:
    body = orjson.dumps({"recipients": ["13800138000", bad], "content": "x"})
    batch = read_batch(BATCH_TYPE, prepare(body, JSON, 100).message(BATCH_ID, 1))
    good, invalid = expand(batch, Content("x", "x"), "CN", 1000)
    assert (good.state, invalid.state) == (State.PENDING, State.INVALID)
    assert invalid.error_code in ("invalid_number", "spreadsheet_notation")
    assert invalid.error_reason


def test_a_decimal_of_a_number_is_the_number() -> None:
    body = b'{"recipients": [13800138000.0, 13900139000.00], "content": "x"}'
    batch = read_batch(BATCH_TYPE, prepare(body, JSON, 100).message(BATCH_ID, 1))
    assert [row.recipient for row in expand(batch, Content("x", "x"), "CN", 1000)] == [
        "+8613800138000",
        "+8613900139000",
    ]


@pytest.mark.parametrize(
    "written", ["19.90", "1e2", "0.10", "9400000000000000000000", "1234567890123456789", "12345", "-7", "1.0E-5"]
)
def test_a_number_among_the_variables_reaches_the_reader_as_it_was_written(written: str) -> None:
    body = f'{{"recipients": [{{"to": "1", "variables": {{"n": {written}}}}}], "content": "$n"}}'.encode()
    batch = read_batch(BATCH_TYPE, prepare(body, JSON, 100).message(BATCH_ID, 1))
    assert batch.recipients == [{"to": "1", "variables": {"n": written}}]


def test_a_bom_before_json_is_passed_over() -> None:
    assert prepare(b"\xef\xbb\xbf" + orjson.dumps(BASE), JSON, 100) == prepared(BASE)


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("send_at_ms", "expires_at_ms", "pointer"),
    [
        (None, None, None),
        (9 * HOUR_MS, None, None),
        (11 * HOUR_MS, 12 * HOUR_MS, None),
        (9 * HOUR_MS - 1, None, "/send_at"),
        (None, 10 * HOUR_MS, "/expires_at"),
    ],
)
def test_a_new_batch_is_neither_over_nor_meant_for_hours_ago(
    send_at_ms: int | None, expires_at_ms: int | None, pointer: str | None
) -> None:
    try:
        check_schedule(send_at_ms, expires_at_ms, 10 * HOUR_MS)
        found = None
    except Problem as wrong:
        found = wrong.flaws[0].pointer
    assert found == pointer
