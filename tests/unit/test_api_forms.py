"""What a form may look like, and what becomes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.forms import members_of_form, members_of_json
from services.api.problems import Problem

BOTH = ["13800138000", "13900139000"]


@pytest.mark.parametrize(
    "body",
    [
        "mobiles%5B%5D=13800138000&mobiles%5B%5D=13900139000",
        "mobiles[]=13800138000&mobiles[]=13900139000",
        "mobiles=13800138000&mobiles=13900139000",
        "mobiles%5B0%5D=13800138000&mobiles%5B1%5D=13900139000",
        "mobiles=13800138000%2C13900139000",
        "mobiles=13800138000,+13900139000",
        "mobiles=13800138000%3B13900139000;",
        "mobiles=13800138000%0D%0A13900139000%0D%0A",
        "mobiles=13800138000%EF%BC%8C13900139000",
        "mobiles%5B%5D=13800138000&mobiles=,13900139000,",
        "mobiles=+13800138000&mobiles[7]=%2013900139000",
    ],
)
def test_every_spelling_of_the_array_is_the_same_two_numbers(body: str) -> None:
    members = members_of_form(f"{body}&content=%E4%BD%A0%E5%A5%BD".encode(), 100)
    assert members == {"recipients": BOTH, "content": "你好"}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("mobiles=+8613800138000", [" 8613800138000"]),
        ("mobiles=%2B8613800138000", ["+8613800138000"]),
        ("mobiles=+447911123456,+33612345678", [" 447911123456", " 33612345678"]),
        ("mobiles=2025550123,+2025550124+", ["2025550123", " 2025550124"]),
        ("mobiles=+13800138000", ["13800138000"]),
        ("mobiles=+02012345678", ["02012345678"]),
        ("mobiles=138+0013+8000", ["138 0013 8000"]),
    ],
)
def test_a_blank_that_may_have_been_a_plus_is_left_for_who_knows_the_region(sent: str, meant: list[str]) -> None:
    assert members_of_form(sent.encode(), 100)["recipients"] == meant


@pytest.mark.parametrize(
    ("field", "member"),
    [("template_id=123", {"template_id": 123}), ("template_id=+123+", {"template_id": 123}), ("template_id=", {}),
     ("content=", {}), ("template_id=abc", {"template_id": "abc"})],
)  # fmt: skip
def test_an_empty_field_is_none_and_a_template_is_a_number(field: str, member: dict[str, object]) -> None:
    assert members_of_form(f"mobiles=1&{field}".encode(), 100) == {"recipients": ["1"], **member}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"mobiles=1&content=%ff", 400),
        (b"mobiles=1&content=\xff", 400),
        (b"mobiles=1&secret=x", 422),
        (b"mobiles=1&content=a&content=b", 422),
        (b"&".join([b"mobiles=1"] * 200), 422),
    ],
)
def test_what_is_no_such_form_is_a_problem(body: bytes, status: int) -> None:
    with pytest.raises(Problem) as raised:
        members_of_form(body, 100)
    assert raised.value.status == status


@pytest.mark.parametrize(
    "mobiles", [BOTH, ",".join(BOTH), [BOTH[0], 13900139000], ["13800138000;13900139000"], "13800138000\n13900139000"]
)
def test_json_takes_an_array_or_a_text(mobiles: object) -> None:
    members = members_of_json({"mobiles": mobiles, "template_id": "5"}, 100)
    assert [str(recipient) for recipient in members["recipients"]] == BOTH
    assert members["template_id"] == 5


def test_json_with_another_member_is_422() -> None:
    with pytest.raises(Problem) as raised:
        members_of_json({"mobiles": BOTH, "+8613800138000": 1}, 100)
    assert raised.value.status == 422
    assert "138" not in raised.value.detail


@given(st.binary(max_size=300))
def test_any_bytes_are_members_or_a_problem(body: bytes) -> None:
    members: dict[str, object] | Problem
    try:
        members = members_of_form(body, 100)
    except Problem as problem:
        members = problem
    assert members.status in (400, 422) if isinstance(members, Problem) else isinstance(members["recipients"], list)


@given(st.lists(st.from_regex(r"\+?[0-9]{5,15}", fullmatch=True), min_size=1))
def test_encoded_numbers_arrive_as_they_were(numbers: list[str]) -> None:
    body = "&".join(f"mobiles%5B%5D={number.replace('+', '%2B')}" for number in numbers)
    assert members_of_form(body.encode(), 1000)["recipients"] == numbers
