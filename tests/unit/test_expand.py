"""From a batch's recipients to rows: one each, in order, and the same at every call."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dispatcher.expand import expand, failed_rows, for_all
from shared.domain.phone import normalise
from shared.domain.placeholders import FilledText
from shared.domain.segments import count_segments
from shared.domain.states import State
from shared.ledger.intake import Content, NewRow
from shared.messages import BatchMessage

LI, WANG = "13800138000", "13900139000"
NAMED_LI = {"to": LI, "variables": {"name": "Li"}}
DUPLICATE = NewRow(
    f"+86{LI}",
    State.DUPLICATE,
    error_code="duplicate",
    error_reason="An earlier row has the same number",
)


def batch(*recipients: Any, **members: Any) -> BatchMessage:
    return BatchMessage.model_validate(
        {
            "batch_id": "01a2046e-6e47-8d1b-9e30-50dba6bdcba2",
            "fingerprint": "f",
            "accepted_at_ms": 1,
            "recipients": list(recipients),
            **members,
        }
    )


def expanded(some: BatchMessage, content: str, most_bytes: int = 1_000_000) -> Iterator[NewRow]:
    return expand(some, for_all(some, content), "CN", most_bytes)


def rows(content: str, *recipients: Any, **members: Any) -> list[NewRow]:
    return list(expanded(batch(*recipients, **members), content))


def texts(content: str, *recipients: Any, **members: Any) -> list[str | None]:
    """What goes to each number; None where nothing does."""
    shared = for_all(batch(*recipients, **members), content).sent
    found = rows(content, *recipients, **members)
    return [(row.text or shared) if row.state is State.PENDING else row.text for row in found]


numbers = st.sampled_from([LI, WANG, f"+86{LI}", f"0086 {WANG}", "+1 650 253 0000", "hello", "", "110"])
recipients = st.one_of(
    numbers,
    st.fixed_dictionaries(
        {"to": numbers},
        optional={"variables": st.dictionaries(st.sampled_from(["name", "code"]), st.text(max_size=5))},
    ),
)
contents = st.sampled_from(["hello", "Dear $name", "${code} for $name, $5 off, $$", "你好 $name", "$$"])
batches = st.builds(
    lambda some, variables, template_id: batch(*some, variables=variables, template_id=template_id),
    st.lists(recipients, min_size=1, max_size=12),
    st.sampled_from([{}, {"name": "all"}]),
    st.none() | st.just(1),
)


@settings(deadline=None, max_examples=200)
@given(some=batches, content=contents)
def test_there_is_one_row_per_recipient_in_their_order(some: BatchMessage, content: str) -> None:
    given_numbers = [item if isinstance(item, str) else item["to"] for item in some.recipients]
    expected = [number if isinstance(number := normalise(to, "CN"), str) else to for to in given_numbers]
    assert [row.recipient for row in expanded(some, content)] == expected


@settings(deadline=None, max_examples=200)
@given(some=batches, content=contents, done=st.integers(0, 15))
def test_going_on_after_some_rows_gives_the_rest_of_the_same_rows(some: BatchMessage, content: str, done: int) -> None:
    whole = list(expanded(some, content))
    assert list(islice(expanded(some, content), done, None)) == whole[done:]


@settings(deadline=None, max_examples=200)
@given(some=batches, content=contents)
def test_no_number_is_pending_twice_and_whatever_is_not_pending_says_why(some: BatchMessage, content: str) -> None:
    found = list(expanded(some, content))
    pending = Counter(row.recipient for row in found if row.state is State.PENDING)
    assert set(pending.values()) <= {1}
    assert {row.state for row in found} <= {State.PENDING, State.INVALID, State.DUPLICATE}
    assert all((row.state is State.PENDING) == (row.error_code is None) == (row.error_reason is None) for row in found)


@settings(deadline=None, max_examples=200)
@given(some=batches, content=contents)
def test_every_pending_row_has_the_segments_of_the_text_that_goes_out(some: BatchMessage, content: str) -> None:
    for row in expanded(some, content):
        if row.state is State.PENDING:
            sent = for_all(some, content).sent if row.text is None else row.text
            assert row.segments == count_segments(sent).segments


def test_a_text_that_all_share_is_not_kept_with_each_row() -> None:
    assert rows("hello", LI, WANG) == [
        NewRow(f"+86{LI}", State.PENDING, segments=1),
        NewRow(f"+86{WANG}", State.PENDING, segments=1),
    ]


def test_a_long_shared_text_takes_its_segments_in_every_row() -> None:
    assert [row.segments for row in rows("中" * 71, LI, WANG)] == [2, 2]


def test_a_number_in_another_spelling_is_a_duplicate() -> None:
    assert rows("hello", "138-0013-8000", f"+86{LI}")[1] == DUPLICATE


def test_a_duplicate_is_told_by_the_number_whatever_its_variables() -> None:
    found = rows("Dear $name", NAMED_LI, {"to": f"0086{LI}", "variables": {"name": "Wang"}})
    assert [(row.state, row.text) for row in found] == [(State.PENDING, "Dear Li"), (State.DUPLICATE, None)]


def test_a_bad_number_ends_its_own_row_and_no_other() -> None:
    assert rows("hello", LI, "hello", WANG)[1] == NewRow(
        "hello", State.INVALID, error_code="invalid_number", error_reason="Not a phone number"
    )
    assert [row.state for row in rows("hello", LI, "hello", WANG)] == [State.PENDING, State.INVALID, State.PENDING]


def test_a_bad_number_given_twice_is_invalid_twice() -> None:
    assert [row.state for row in rows("hello", "hello", "hello")] == [State.INVALID, State.INVALID]


def test_a_bad_number_of_any_length_is_cut() -> None:
    assert rows("hello", "x" * 1000)[0].recipient == "x" * 64


def test_each_recipient_has_a_text_of_its_own() -> None:
    named_wang = {"to": WANG, "variables": {"name": "Wang"}}
    assert texts("Dear $name, ${name}!", NAMED_LI, named_wang) == ["Dear Li, Li!", "Dear Wang, Wang!"]


def test_a_recipients_own_variables_go_before_those_for_all() -> None:
    assert texts("$code for $name", NAMED_LI, WANG, variables={"name": "all", "code": "1"}) == ["1 for Li", "1 for all"]


def test_a_text_of_a_recipients_own_is_counted_by_itself() -> None:
    long_name = {"to": WANG, "variables": {"name": "中" * 71}}
    assert [row.segments for row in rows("$name", NAMED_LI, long_name)] == [1, 2]


def test_a_value_is_taken_as_it_is_whatever_it_looks_like() -> None:
    assert texts("Dear $name", {"to": LI, "variables": {"name": "$code \\1 ${x}"}}) == ["Dear $code \\1 ${x}"]


def test_a_missing_variable_ends_its_own_row_and_no_other() -> None:
    first, second = rows("Dear $name, $code", NAMED_LI, {"to": WANG, "variables": {"name": "Wang", "code": "1"}})
    assert first == NewRow(f"+86{LI}", State.INVALID, error_code="missing_variable", error_reason="No value for $code")
    assert (second.state, second.text) == (State.PENDING, "Dear Wang, 1")


def test_of_several_missing_variables_the_first_by_name_is_told() -> None:
    assert rows("$zeta $eta $theta $alpha $iota", LI, template_id=1)[0].error_reason == "No value for $alpha"


def test_a_template_without_variables_given_misses_them() -> None:
    assert rows("Dear $name", LI, template_id=1)[0].error_code == "missing_variable"


@pytest.mark.parametrize("content", ["Dear $name", "$5 off", "100$", "${name"])
def test_a_content_without_any_variables_is_literal(content: str) -> None:
    assert rows(content, LI) == [NewRow(f"+86{LI}", State.PENDING, segments=1)]


@pytest.mark.parametrize("price", ["$5", "5$", "$ 5", "$，", "$50", "$19.90", "$1,000", "$1.5", "$0"])
def test_a_dollar_that_names_nothing_stays_as_it_is(price: str) -> None:
    assert texts(f"Dear $name, {price} off", NAMED_LI) == [f"Dear Li, {price} off"]


def test_a_name_ends_where_chinese_begins() -> None:
    assert texts("尊敬的$name您好", NAMED_LI) == ["尊敬的Li您好"]


def test_a_batch_that_cannot_be_sent_fails_every_recipient_in_order() -> None:
    assert list(failed_rows(batch(LI, {"to": "x" * 100}), "no_content", "There is none")) == [
        NewRow(LI, State.FAILED, error_code="no_content", error_reason="There is none"),
        NewRow("x" * 64, State.FAILED, error_code="no_content", error_reason="There is none"),
    ]


def test_a_row_that_misses_a_variable_does_not_shut_out_a_later_one_that_has_it() -> None:
    assert [row.state for row in rows("Dear $name", LI, NAMED_LI)] == [State.INVALID, State.PENDING]


@pytest.mark.parametrize(
    ("placeholder", "name", "rest"),
    [
        ("$姓名", "姓名", ""),
        ("${姓名}", "姓名", ""),
        ("${user.name}", "user.name", ""),
        ("${first-name}", "first-name", ""),
        ("${5}", "5", ""),
        ("$1", "1", ""),
        ("$prénom", "prénom", ""),
        ("$姓名您好", "姓名", "您好"),
        ("$name您好", "name", "您好"),
    ],
)
def test_a_placeholder_of_any_letters_is_filled_or_ends_its_row(placeholder: str, name: str, rest: str) -> None:
    filled, missing = rows(f"您好 {placeholder}", {"to": LI, "variables": {name: "Li"}}, {"to": WANG, "variables": {}})
    assert (filled.state, filled.text) == (State.PENDING, f"您好 Li{rest}")
    assert (missing.state, missing.error_code) == (State.INVALID, "missing_variable")


@pytest.mark.parametrize("broken", ["${name", "${}", "${ name }", "${na me}"])
def test_a_placeholder_that_can_name_nothing_ends_its_row(broken: str) -> None:
    assert rows(f"Dear {broken}", NAMED_LI)[0].error_code == "missing_variable"


def test_variables_that_are_given_and_empty_make_a_text_one_to_be_filled() -> None:
    (row,) = rows("Hello $name", {"to": LI, "variables": {}})
    assert (row.state, row.error_code) == (State.INVALID, "missing_variable")


def test_single_digits_are_places_only_where_there_is_a_first_one() -> None:
    assert rows("$1, your code is $2", NAMED_LI)[0].error_reason == "No value for $1"
    assert texts("2 for $5, $name", NAMED_LI) == ["2 for $5, Li"]


@pytest.mark.parametrize("content", ["$$", "$$5", "$$name", "a $$$$ b"])
def test_two_dollars_are_one_with_and_without_variables(content: str) -> None:
    assert texts(content, LI) == texts(content, NAMED_LI) == [content.replace("$$", "$")]


def test_a_name_does_not_end_within_its_own_script() -> None:
    assert rows("Dear $names", NAMED_LI)[0].error_reason == "No value for $names"


@pytest.mark.parametrize("blank", ["", " ", "\r\n", "\u200b", "\ufeff\u2060 ", "\u3164", "\u00a0"])
def test_a_text_in_which_nothing_can_be_seen_ends_its_row(blank: str) -> None:
    (filled,) = rows("$text", {"to": LI, "variables": {"text": blank}})
    (shared,) = rows(blank, LI)
    for row in (filled, shared):
        assert (row.state, row.error_code) == (State.INVALID, "empty_text")


def test_a_text_is_not_put_together_where_it_would_be_too_long() -> None:
    (row,) = rows("$a" * 5000, {"to": LI, "variables": {"a": "x" * 5000}})
    assert row.error_code == "text_too_long"


def test_a_name_is_looked_for_in_the_beginning_of_a_long_run_of_letters_only() -> None:
    run = "您" * 4990
    (row,) = rows(f"${run}", NAMED_LI)
    assert (row.error_code, row.error_reason) == ("missing_variable", "No value for $您")
    assert texts(f"$name{run}", NAMED_LI) == [f"Li{run}"]
    assert rows("$" + "a" * 100, NAMED_LI)[0].error_reason == "No value for $" + "a" * 20
    placeholder = FilledText(f"$name{run}").placeholders[0]
    assert len(placeholder.candidates) <= 64


def test_a_text_that_variables_make_the_same_for_all_is_kept_once() -> None:
    variables = {"a": "x" * 4000}
    assert for_all(batch(LI, WANG, variables=variables), "$a$a").sent == "x" * 8000
    alike = rows("$a$a", LI, {"to": WANG, "variables": {"b": "1"}}, variables=variables)
    assert alike == [NewRow(f"+86{number}", State.PENDING, segments=53) for number in (LI, WANG)]
    assert for_all(batch(LI), "$$5").sent == "$5"
    assert rows("$$5", LI) == [NewRow(f"+86{LI}", State.PENDING, segments=1)]


@pytest.mark.parametrize(
    ("content", "variables"), [("$a$b", {"a": "x"}), ("$a$a", {"a": "x" * 9000}), ("$a", {"a": " "})]
)
def test_what_cannot_be_sent_to_all_is_kept_as_it_was_given(content: str, variables: dict[str, str]) -> None:
    assert for_all(batch(LI, variables=variables), content) == Content(content, content)


def test_the_texts_of_one_batch_take_no_more_bytes_than_it_may_have() -> None:
    people = [{"to": f"1380013{row:04d}", "variables": {"name": "李" * 10}} for row in range(4)]
    more = {"to": WANG, "variables": {"name": "Al"}}
    content = "$name"
    found = list(expanded(batch(*people, LI, more, variables={"name": "for all"}), content, most_bytes=95))
    assert [row.error_code for row in found] == [None, None, None, "batch_too_large", None, None]
    assert found[3].error_reason == "The texts of the batch's numbers would take more than 95 bytes"
    assert sum(len((row.text or "").encode()) for row in found) == 92


def test_a_number_whose_text_was_too_much_is_no_duplicate_later() -> None:
    long, short = ({"to": LI, "variables": {"name": name}} for name in ("x" * 50, "y"))
    assert [row.state for row in expanded(batch(long, short), "$name", most_bytes=10)] == [State.INVALID, State.PENDING]


def test_a_batch_that_was_begun_with_its_text_unfilled_goes_on_with_it() -> None:
    some = batch(LI, WANG, variables={"a": "x"})
    as_before = Content("$a$$", "$a$$")
    assert [row.text for row in expand(some, as_before, "CN", 100)] == ["x$", "x$"]
