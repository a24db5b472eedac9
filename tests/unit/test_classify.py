"""What an HTTP answer of the plain provider means, by the contract's table."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.sender.providers.concealing import conceal
from services.sender.providers.gateway import TextMessage
from services.sender.providers.plain.classify import CodeTable, classify, has_id, read_object, retry_after_s
from shared.domain.outcome import CallResult, Verdict
from shared.domain.phone import mask

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CODES = CodeTable(temporary=frozenset({"BUSY"}), permanent=frozenset({"BLACKLISTED"}))
RECIPIENT = "+8613800138000"


def answer(
    status: int, content: Any = None, retry_after: str | None = None, text: str = "hello", to: str = RECIPIENT
) -> CallResult:
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return classify(status, headers, body, CODES, NOW, [TextMessage("b:1", to, text)])


def scrub(words: str, recipient: str, text: str) -> str:
    return conceal(words, [TextMessage("b:1", recipient, text)])


@pytest.mark.parametrize("status", [200, 201, 202, 299])
@pytest.mark.parametrize("message_id", ["p-1", 17, 2**63 - 1])
def test_a_2xx_with_a_message_id_is_accepted(status: int, message_id: str | int) -> None:
    content = {"message_id": message_id, "code": "OK", "anything": ["else"]}
    assert answer(status, content) == CallResult(Verdict.ACCEPTED, status=status, provider_message_id=str(message_id))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"OK",
        b"<html>",
        b"\xff",
        b'{"message_id": "p-1"',
        [],
        "p-1",
        None,
        {},
        {"message_id": ""},
        {"message_id": " \t"},
        {"message_id": None},
        {"message_id": ["p-1"]},
        {"code": "WHO_KNOWS"},
    ],
)
@pytest.mark.parametrize("status", [200, 204])
def test_a_2xx_that_cannot_be_understood_is_unclear(status: int, content: object) -> None:
    result = answer(status, content)
    assert (result.verdict, result.code, result.status) == (Verdict.UNCLEAR, "answer_not_understood", status)
    assert result.reason == f"The provider answered HTTP {status} without a message_id: it may have sent the text"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((status, Verdict.REFUSED) for status in (400, 404, 409, 413, 422, 499)),
        *((status, Verdict.ACCOUNT) for status in (401, 402, 403, 407)),
        *((status, Verdict.NOT_SENT) for status in (301, 302, 307, 408, 421, 425, 429, 503, 521, 522, 523, 525, 526)),
        *((status, Verdict.UNCLEAR) for status in (500, 501, 502, 504, 520, 524, 527, 599)),
    ],
)
@pytest.mark.parametrize("content", [b"", b"<html>", {"code": "WHO_KNOWS"}, {"message_id": " "}])
def test_an_error_without_a_known_code_is_judged_by_its_status(status: int, verdict: Verdict, content: object) -> None:
    assert answer(status, content).verdict is verdict


@pytest.mark.parametrize("status", [200, 302, 400, 429, 500, 503])
def test_a_temporary_code_is_certainly_not_sent_whatever_its_status(status: int) -> None:
    result = answer(status, {"code": "BUSY", "message": "Come back"})
    assert (result.verdict, result.code, result.reason) == (Verdict.NOT_SENT, "BUSY", "Come back")


@pytest.mark.parametrize("status", [200, 302, 400, 429, 500, 503])
def test_a_permanent_code_is_refused_whatever_its_status(status: int) -> None:
    result = answer(status, {"code": "BLACKLISTED", "message": "Opted out"}, "5")
    assert result == CallResult(Verdict.REFUSED, "BLACKLISTED", "Opted out", status)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        *((status, {"message_id": "p-1"}) for status in (302, 400, 404, 408, 429, 500, 503, 522)),
        *(
            (status, {"message_id": "p-1", "code": code})
            for status in (200, 400, 503)
            for code in ("BUSY", "BLACKLISTED")
        ),
        (429, {"message_id": 17}),
        (503, {"message_id": ["p-1"]}),
    ],
)
def test_an_answer_that_says_no_and_names_an_id_may_have_been_sent(status: int, content: object) -> None:
    result = answer(status, content, "5")
    assert (result.verdict, result.code, result.retry_after_s) == (Verdict.UNCLEAR, "answer_not_understood", None)


def test_an_id_of_more_digits_than_64_bits_hold_is_kept_digit_by_digit() -> None:
    assert answer(200, b'{"message_id": 123456789012345678901}').provider_message_id == "123456789012345678901"


def test_a_status_may_stand_in_the_table_like_a_code() -> None:
    codes = CodeTable(temporary=frozenset({"http_502"}), permanent=frozenset({"http_503"}))
    assert classify(502, {}, b"<html>", codes, NOW).verdict is Verdict.NOT_SENT
    assert classify(502, {}, b'{"code": "WHO_KNOWS"}', codes, NOW).verdict is Verdict.NOT_SENT
    assert classify(503, {}, b"", codes, NOW).verdict is Verdict.REFUSED


def test_a_numeric_code_is_looked_up_as_text() -> None:
    codes = CodeTable(permanent=frozenset({"1003"}))
    assert classify(500, {}, b'{"code": 1003}', codes, NOW).verdict is Verdict.REFUSED


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (404, "http_404", "The provider answered with HTTP 404"),
        (500, "http_500", "The provider answered with HTTP 500"),
        (429, "http_429", "The provider is throttling us"),
        (503, "http_503", "The provider is not available"),
    ],
)
def test_an_error_without_words_of_its_own_is_told_in_ours(status: int, code: str, reason: str) -> None:
    result = answer(status, b"")
    assert (result.code, result.reason, result.status) == (code, reason, status)


@pytest.mark.parametrize("content", [{"code": None, "message": ""}, {"code": [1], "message": {}}, {"code": 1.5}])
def test_a_code_or_message_that_is_none_is_passed_over(content: object) -> None:
    result = answer(400, content)
    assert (result.code, result.reason) == ("http_400", "The provider answered with HTTP 400")


def test_a_code_of_any_length_is_cut() -> None:
    assert answer(400, {"code": "x" * 5000}).code == "x" * 64


@pytest.mark.parametrize("status", [429, 503, 400])
def test_the_pause_that_the_provider_asks_for_is_kept_with_what_may_be_tried_again(status: int) -> None:
    assert answer(status, {"code": "BUSY"}, "17").retry_after_s == 17


@pytest.mark.parametrize("status", [400, 500, 200])
def test_no_pause_is_kept_with_what_is_not_tried_again(status: int) -> None:
    assert answer(status, {}, "17").retry_after_s is None


@pytest.mark.parametrize(
    ("value", "pause_s"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90),
        ("Sun, 01 Mar 2026 13:01:30 +0100", 90),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("Sun, 01 Mar 99999 12:00:00 GMT", None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_and_anything_else_is_passed_over(
    value: str | None, pause_s: float | None
) -> None:
    assert retry_after_s(value, NOW) == pause_s


@pytest.mark.parametrize("value", ["²", "Sun, 01 Mar 2026 12:00:00 +9999999999999"])
def test_no_retry_after_is_too_strange_to_be_read(value: str) -> None:
    assert retry_after_s(value, NOW) is None


@pytest.mark.parametrize("value", ["9" * 20, "9" * 400])
def test_an_endless_pause_still_ends(value: str) -> None:
    pause_s = retry_after_s(value, NOW)
    assert pause_s is None or pause_s <= 10 * 365 * 86_400


@pytest.mark.parametrize("message_id", [False, True])
def test_a_message_id_that_is_true_or_false_is_not_understood(*, message_id: bool) -> None:
    assert answer(200, {"message_id": message_id}).verdict is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("status", "content"),
    [(200, {"message_id": "p\x00-1"}), (400, {"code": "a\x00b"}), (400, {"code": "c", "message": "a\x00b"})],
)
def test_no_part_of_an_answer_keeps_a_nul(status: int, content: dict[str, str]) -> None:
    assert "\\x00" not in repr(answer(status, content))


@settings(deadline=None, max_examples=300)
@given(
    status=st.integers(200, 599),
    body=st.binary(max_size=50)
    | st.dictionaries(
        st.sampled_from(["code", "message", "message_id"]), st.text() | st.integers(0, 9) | st.none()
    ).map(orjson.dumps),
)
def test_only_a_2xx_is_ever_accepted_and_few_5xx_are_certainly_not_sent(status: int, body: bytes) -> None:
    verdict = classify(status, {}, body, CodeTable(), NOW).verdict
    if verdict is Verdict.ACCEPTED:
        assert 200 <= status < 300
    if status >= 500:
        not_sent = status in (503, 521, 522, 523, 525, 526) and not has_id(read_object(body))
        assert verdict is (Verdict.NOT_SENT if not_sent else Verdict.UNCLEAR)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("No route to +8613800138000", "No route to +86138****8000"),
        ("No route to 8613800138000.", "No route to +86138****8000."),
        ("号码13800138000无效", "号码+86138****8000无效"),
        ("Not +8613900139000 either", "Not +86139****9000 either"),
        ("Refused: Dear Li, hello", "Refused: …"),
        ("Error 4001", "Error 4001"),
    ],
)
def test_a_reason_keeps_its_words_and_loses_numbers_and_the_text(reason: str, shown: str) -> None:
    assert scrub(reason, RECIPIENT, "Dear Li, hello") == shown


def test_a_short_number_of_a_small_country_is_masked_too() -> None:
    assert "+6834000" not in scrub("No route to +6834000", "+6834000", "hello")


def test_an_empty_text_leaves_the_reason_as_it_is() -> None:
    assert scrub("Refused", RECIPIENT, "") == "Refused"


@pytest.mark.parametrize("words", ["x" * 5000, "x" * 200 + "y" * 5000])
def test_a_reason_of_any_length_is_cut(words: str) -> None:
    reason = answer(400, {"message": words}).reason or ""
    assert len(scrub(reason, RECIPIENT, "hello")) <= 240
    assert reason.startswith("x" * 200)


@pytest.mark.parametrize("text", ["Dear Li,\nyour code is 1234", "您好\u3000验证码 1234", "word " * 60])
def test_a_text_that_the_provider_quotes_in_full_is_not_shown(text: str) -> None:
    reason = answer(400, {"message": f"Refused: {text}"}, text=text).reason or ""
    assert not any(word in reason for word in ("Dear Li", "验证码", "word"))


@settings(deadline=None, max_examples=300)
@given(
    recipient=st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True),
    text=st.text(min_size=1, max_size=30),
    words=st.lists(st.text(max_size=10), min_size=3, max_size=3),
    plus=st.booleans(),
)
def test_no_reason_that_quotes_them_shows_the_number_or_the_text(
    recipient: str, text: str, words: list[str], *, plus: bool
) -> None:
    # A text that is part of what a mask shows, or of our own mark, is no secret that scrubbing could keep.
    assume(text not in mask(recipient) and "…" not in text and "*" not in text and not text.isdigit())
    quoted = recipient if plus else recipient[1:]
    shown = scrub(f"{words[0]} {quoted} {words[1]} {text} {words[2]}", recipient, text)
    assert recipient[1:] not in shown
    assert text not in shown


SPELLED = [
    "13800138000",
    "008613800138000",
    "138 0013 8000",
    "138-0013-8000",
    "+86 138 0013 8000",
    "+86-138-0013-8000",
    "(+86) 138.0013.8000",
    "138 - 0013 - 8000",
    "138\u00a00013\u20138000",
    "138_0013_8000",
    "138\x000013\u200b8000",
    "１３８００１３８０００",
    "9991380013800099999999999999",
]


def spells(shown: str, number: str = "13800138000") -> bool:
    return number in "".join(str(int(character)) for character in shown if character.isdecimal())


@pytest.mark.parametrize("written", [*SPELLED, "1 3 8 0 0 1 3 8 0 0 0"])
@pytest.mark.parametrize("where", ["code", "message"])
def test_no_way_to_spell_a_number_brings_it_into_a_code_or_a_reason(written: str, where: str) -> None:
    result = answer(400, {where: f"No route to {written}, sorry"})
    assert not spells(f"{result.code} {result.reason}")
    assert "No route to " in f"{result.code} {result.reason}"


def test_what_stands_beside_a_number_is_still_told() -> None:
    result = answer(400, {"code": 4001, "message": "Error 4001: 138-0013-8000 is not in zone 755, see rule 12"})
    assert (result.code, result.reason) == ("4001", "Error 4001: +86138****8000 is not in zone 755, see rule 12")


@pytest.mark.parametrize("quoted", ["YOUR CODE IS 1234", "your code is 1234", "Your Code Is 1234"])
def test_a_text_in_another_case_is_recognised_in_code_and_reason(quoted: str) -> None:
    result = answer(400, {"code": quoted, "message": f"Refused: {quoted}!"}, text="Your code is 1234")
    assert (result.code, result.reason) == ("…", "Refused: …!")


def test_a_text_that_only_folding_recognises_leaves_no_words() -> None:
    assert scrub("Refused: GROSSE STRASSE 7", RECIPIENT, "Große Straße 7") == "…"


def test_a_code_is_looked_up_as_the_provider_wrote_it_though_the_text_is_a_part_of_it() -> None:
    result = answer(400, {"code": "BUSY"}, text="bus")
    assert (result.verdict, result.code) == (Verdict.NOT_SENT, "…Y")


@pytest.mark.parametrize("written", SPELLED)
@pytest.mark.parametrize("around", ["{}", "order-{}-77", "{}@gateway"])
def test_an_id_that_is_or_has_the_number_is_accepted_and_does_not_show_it(written: str, around: str) -> None:
    result = answer(200, {"message_id": around.format(written)})
    assert result.verdict is Verdict.ACCEPTED
    assert not spells(result.provider_message_id or "")
    assert (result.provider_message_id or "").startswith(around.partition("{")[0])


def test_an_id_that_is_the_number_as_a_number_is_masked() -> None:
    assert answer(200, {"message_id": 13800138000}).provider_message_id == "+86138****8000"
    assert answer(200, {"message_id": 4512345678}, to="+4512345678").provider_message_id == "+45****5678"


@pytest.mark.parametrize("quoted", ["Your code is 12", "ode is 1234 and no", "YOUR  CODE\nIS 1234 and"])
def test_a_part_of_the_text_that_the_provider_quotes_is_not_shown(quoted: str) -> None:
    result = answer(400, {"message": f"Bad text: {quoted}!"}, text="Your code is 1234 and no other")
    assert result.reason == "Bad text: …!"


def test_a_text_of_the_longest_kind_is_not_shown_however_it_is_quoted() -> None:
    text = "".join(chr(0x4E00 + number % 5000) for number in range(10_000))
    assert scrub(f"Bad text: {text}", RECIPIENT, text) == "Bad text: …"


def test_words_that_two_sentences_share_by_chance_stay() -> None:
    assert scrub("The number is blocked", RECIPIENT, "Is the number yours?") == "The number is blocked"


@pytest.mark.parametrize("zero", [0, "0", " 0 "])
def test_an_id_of_zero_is_none(zero: object) -> None:
    assert answer(200, {"message_id": zero}).verdict is Verdict.UNCLEAR
    assert answer(400, {"message_id": zero, "code": "blocked"}).verdict is Verdict.REFUSED


@pytest.mark.parametrize("text", ["Your code is 1234", "1234"])
def test_an_id_that_is_the_text_is_not_shown(text: str) -> None:
    assert answer(200, {"message_id": text}, text=text).provider_message_id == "…"


@pytest.mark.parametrize(
    "provider_message_id",
    [
        "123456789012345678",
        "0198c0de-0000-8000-8000-00000000abcd",
        "20260301120000-8000",
        "13900139000",
        "a-hello-b",
        "消息-17",
    ],
)
def test_any_other_id_stays_as_it_is(provider_message_id: str) -> None:
    assert answer(200, {"message_id": provider_message_id}).provider_message_id == provider_message_id


def test_a_403_is_about_the_number_where_the_settings_say_so() -> None:
    codes = CodeTable(permanent=frozenset({"http_403"}))
    assert classify(403, {}, b"", codes, NOW).verdict is Verdict.REFUSED
    assert classify(401, {}, b"", codes, NOW).verdict is Verdict.ACCOUNT


def test_a_permanent_status_without_a_code_is_its_own_code() -> None:
    codes = CodeTable(permanent=frozenset({"http_403"}))
    result = classify(403, {}, b"", codes, NOW)
    assert (result.code, result.reason) == ("http_403", "The provider refused it with http_403")


@pytest.mark.parametrize("none", [0, False, None, ""])
def test_an_id_that_is_zero_or_false_is_none_in_an_answer_that_says_no(none: object) -> None:
    assert answer(429, {"code": "throttled", "message_id": none}).verdict is Verdict.NOT_SENT
