"""What the plain provider's answer to several messages means for each of them."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sender.providers.gateway import TextMessage
from services.sender.providers.plain.classify import CodeTable
from services.sender.providers.plain.classify_results import classify_results
from shared.domain.outcome import CallResult, Verdict

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CODES = CodeTable(temporary=frozenset({"BUSY"}), permanent=frozenset({"BLACKLISTED"}))
MESSAGES = [TextMessage(f"b:{row}", f"+861380013800{row}", f"Dear Li, number {row}") for row in range(3)]
ACCEPTED = {"reference": "b:1", "message_id": "p-1"}


def answer(
    content: Any, status: int = 200, retry_after: str | None = None, messages: Sequence[TextMessage] = MESSAGES
) -> CallResult | Sequence[CallResult]:
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return classify_results(status, headers, body, messages, CODES, NOW)


def each(*results: Any, retry_after: str | None = None) -> Sequence[CallResult]:
    """The verdicts on the three messages, where the answer has these results."""
    found = answer({"results": results}, retry_after=retry_after)
    assert not isinstance(found, CallResult)
    assert len(found) == len(MESSAGES)
    return found


def of_one(result: dict[str, Any], retry_after: str | None = None) -> CallResult:
    """The verdict on the message that has this result, between two that were accepted."""
    others = [{"reference": reference, "message_id": "p"} for reference in ("b:0", "b:2")]
    before, found, after = each(*others, {"reference": "b:1", **result}, retry_after=retry_after)
    assert before.verdict is after.verdict is Verdict.ACCEPTED
    return found


def test_each_message_has_the_verdict_of_its_own_result_in_any_order() -> None:
    first, second, third = each(
        {"reference": "b:2", "code": "number_unreachable", "message": "It rings nowhere."},
        {"reference": "b:1", "code": "BUSY", "message": "Later."},
        {"reference": "b:0", "message_id": 17, "anything": ["else"]},
    )
    assert first == CallResult(Verdict.ACCEPTED, status=200, provider_message_id="17")
    assert second == CallResult(Verdict.NOT_SENT, "BUSY", "Later.", 200)
    assert third == CallResult(Verdict.REFUSED, "number_unreachable", "It rings nowhere.", 200)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        ({"message_id": "p-1"}, Verdict.ACCEPTED),
        ({"message_id": "p-1", "code": "OK"}, Verdict.ACCEPTED),
        ({"code": "WHO_KNOWS"}, Verdict.REFUSED),
        ({"code": 1003, "message_id": None}, Verdict.REFUSED),
        ({"code": "WHO_KNOWS", "message_id": ""}, Verdict.REFUSED),
        ({"code": "BLACKLISTED", "message_id": "p-1"}, Verdict.UNCLEAR),
        ({"code": "BUSY"}, Verdict.NOT_SENT),
        ({"code": "BUSY", "message_id": "p-1"}, Verdict.UNCLEAR),
        ({"code": "throttled", "message_id": 12.5}, Verdict.UNCLEAR),
        ({"code": "throttled"}, Verdict.NOT_SENT),
        ({"code": "unavailable"}, Verdict.NOT_SENT),
        ({}, Verdict.UNCLEAR),
        ({"message": "Who knows."}, Verdict.UNCLEAR),
        ({"message_id": ""}, Verdict.UNCLEAR),
        ({"message_id": True}, Verdict.UNCLEAR),
        ({"code": "WHO_KNOWS", "message_id": ["p-1"]}, Verdict.UNCLEAR),
        ({"code": ["WHO_KNOWS"]}, Verdict.UNCLEAR),
    ],
)
def test_a_result_counts_for_its_message_alone(result: dict[str, Any], verdict: Verdict) -> None:
    found = of_one(result)
    assert (found.verdict, found.status) == (verdict, 200)
    assert bool(found.reason) == bool(found.code) == (verdict is not Verdict.ACCEPTED)


def test_the_formats_own_codes_can_be_made_permanent() -> None:
    codes = CodeTable(permanent=frozenset({"throttled"}))
    body = orjson.dumps({"results": [{"reference": "b:0", "code": "throttled"}]})
    (found,) = classify_results(200, {}, body, MESSAGES[:1], codes, NOW)  # type: ignore[misc]
    assert found.verdict is Verdict.REFUSED


@pytest.mark.parametrize(
    "results",
    [
        [],
        [{"reference": "b:7", "message_id": "p-1"}],
        [{"reference": "B:1", "message_id": "p-1"}],
        [{"reference": 1, "message_id": "p-1"}],
        [{"message_id": "p-1"}],
        ["b:1", None, 7, ["b:1"]],
        [ACCEPTED, {"reference": "b:1", "code": "number_unreachable"}],
        [ACCEPTED, {"reference": "b:1", "message_id": "p-2"}, ACCEPTED],
    ],
    ids=["none", "unknown", "not quite it", "no text", "none named", "no entries", "contradictory", "two ids"],
)
def test_a_message_without_one_clear_result_may_have_been_sent_and_the_others_have_theirs(results: list[Any]) -> None:
    others = [{"reference": "b:0", "message_id": "p"}, {"reference": "b:2", "code": "number_unreachable"}]
    verdicts = [result.verdict for result in each(*others, *results)]
    assert verdicts == [Verdict.ACCEPTED, Verdict.UNCLEAR, Verdict.REFUSED]


def test_a_result_that_is_given_twice_alike_counts() -> None:
    assert of_one({"message_id": "p-1"}) == each(ACCEPTED, dict(ACCEPTED))[1]


@pytest.mark.parametrize(
    "content", [b"", b"OK", b'{"results": [', [], {}, {"results": None}, {"results": {"b:1": "p"}}, {"message_id": "p"}]
)
def test_a_2xx_without_results_may_have_sent_all(content: object) -> None:
    found = answer(content)
    assert isinstance(found, CallResult)
    assert (found.verdict, found.code) == (Verdict.UNCLEAR, "answer_not_understood")


@pytest.mark.parametrize(
    ("status", "content", "verdict"),
    [
        *((status, {}, Verdict.REFUSED) for status in (400, 404, 413, 422)),
        *((status, {}, Verdict.ACCOUNT) for status in (401, 402, 403, 407)),
        *((status, {}, Verdict.NOT_SENT) for status in (302, 408, 421, 425, 429, 503, 522)),
        *((status, {}, Verdict.UNCLEAR) for status in (500, 502, 504, 520)),
        (503, {"message_id": "p-1"}, Verdict.UNCLEAR),
        (400, {"code": "BUSY"}, Verdict.NOT_SENT),
        (200, {"code": "BUSY"}, Verdict.NOT_SENT),
        (400, {"code": "BLACKLISTED"}, Verdict.REFUSED),
        (500, {"code": "BLACKLISTED"}, Verdict.UNCLEAR),
        (302, {"code": "BLACKLISTED"}, Verdict.UNCLEAR),
        (400, {"code": "throttled"}, Verdict.REFUSED),
        (500, {"code": "unavailable"}, Verdict.UNCLEAR),
        (400, {"results": [{"reference": "b:1", "code": "number_unreachable"}]}, Verdict.REFUSED),
    ],
)
def test_an_answer_to_the_whole_call_is_judged_like_one_to_a_single_message(
    status: int, content: object, verdict: Verdict
) -> None:
    found = answer(content, status)
    assert isinstance(found, CallResult)
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("status", "code"), [(400, "WHO_KNOWS"), (429, "throttled"), (503, "BUSY"), (200, "BUSY"), (200, "BLACKLISTED")]
)
def test_a_failure_of_the_call_that_names_an_accepted_message_is_not_believed(status: int, code: str) -> None:
    found = answer({"code": code, "results": [{"reference": "b:0", "code": "BUSY"}, ACCEPTED]}, status)
    assert isinstance(found, CallResult)
    assert (found.verdict, found.code) == (Verdict.UNCLEAR, "answer_not_understood")


def test_the_pause_that_the_provider_asks_for_is_kept_with_what_may_be_tried_again() -> None:
    assert of_one({"code": "throttled"}, "17").retry_after_s == 17
    assert of_one({"code": "number_unreachable"}, "17").retry_after_s is None
    whole = answer({}, 429, "17")
    assert isinstance(whole, CallResult)
    assert whole.retry_after_s == 17


def test_no_reason_shows_a_number_or_a_text() -> None:
    quoting = f"Not {MESSAGES[1].to}: {MESSAGES[1].text}"
    assert of_one({"code": "refused", "message": quoting}).reason == "Not +86138****8001: …"
    everything = " ".join(f"{message.to} {message.text}" for message in MESSAGES)
    whole = answer({"code": "bad_request", "message": everything}, 400)
    assert isinstance(whole, CallResult)
    assert whole.reason == "+86138****8000 … +86138****8001 … +86138****8002 …"


words = st.sampled_from(["BUSY", "BLACKLISTED", "throttled", "OK", "", "p-1", None, 0, 3, 1.8e19, True, ["p-1"]])
results = st.fixed_dictionaries(
    {},
    optional={"reference": st.sampled_from(["b:0", "b:1", "b:2", "b:3"]) | words, "code": words, "message_id": words},
)
bodies = st.binary(max_size=40) | st.fixed_dictionaries(
    {}, optional={"results": st.lists(results | words, max_size=6) | words, "code": words, "message_id": words}
).map(orjson.dumps)


@settings(deadline=None, max_examples=500)
@given(status=st.sampled_from([200, 207, 302, 400, 401, 429, 500, 503]), body=bodies)
def test_for_any_answer_each_message_has_one_verdict_and_is_accepted_or_not_sent_only_by_its_own_word(
    status: int, body: bytes
) -> None:
    found = classify_results(status, {}, body, MESSAGES, CODES, NOW)
    verdicts = [found] * 3 if isinstance(found, CallResult) else found
    assert len(verdicts) == len(MESSAGES)
    entries = said(body)
    for message, result in zip(MESSAGES, verdicts, strict=True):
        own = [entry for entry in entries if entry.get("reference") == message.reference]
        if result.verdict is Verdict.ACCEPTED:
            assert 200 <= status < 300
            assert {str(entry.get("message_id")) for entry in own} == {result.provider_message_id}
        elif result.verdict is not Verdict.UNCLEAR and not isinstance(found, CallResult):
            assert Counter(str(entry.get("code")) for entry in own).keys() == {result.code}
        elif result.verdict is not Verdict.UNCLEAR:
            assert not any(entry.get("message_id") not in (None, "", 0) for entry in entries)  # nor False


def said(body: bytes) -> list[dict[str, Any]]:
    """The results in a body, where there are any."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    found = content.get("results") if isinstance(content, dict) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
