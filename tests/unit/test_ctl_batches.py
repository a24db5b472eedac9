"""The requests that a file becomes."""

import json
from typing import Any

import pytest

from tools.ctl.batches import requests as batches
from tools.ctl.batches.recipients import RecipientList, read_recipients
from tools.ctl.batches.requests import build_requests
from tools.ctl.errors import UsageError


def _given(text: str) -> RecipientList:
    return read_recipients(text)


def _bodies(text: str, members: dict[str, Any]) -> list[Any]:
    return [json.loads(batch.body) for batch in build_requests(_given(text), members, "CN").batches]


def test_recipients_without_variables_are_plain_strings() -> None:
    assert _bodies("13800138000\n", {"content": "hello"}) == [{"recipients": ["13800138000"], "content": "hello"}]


def test_only_the_variables_that_the_text_uses_leave_the_machine() -> None:
    [body] = _bodies("to,name,secret\n13800138000,Li,x\n", {"content": "Hi $name"})
    assert body["recipients"] == [{"to": "13800138000", "variables": {"name": "Li"}}]


def test_a_template_may_use_every_column() -> None:
    [body] = _bodies("to,name,code\n13800138000,Li,7\n", {"template_id": 3})
    assert body == {
        "recipients": [{"to": "13800138000", "variables": {"name": "Li", "code": "7"}}],
        "template_id": 3,
    }


@pytest.mark.parametrize("file", ["13800138000\n", "to,name\n13800138000,Li\n"])
def test_a_variable_without_a_column_is_refused(file: str) -> None:
    with pytest.raises(UsageError, match=r"\$price"):
        _bodies(file, {"content": "for $price"})


def test_more_recipients_than_a_batch_takes_become_several_batches() -> None:
    numbers = [f"154{index:08d}" for index in range(batches.MAX_RECIPIENTS + 1)]
    built = build_requests(_given("\n".join(numbers)), {"content": "x"}, "CN")
    assert [batch.recipients for batch in built.batches] == [batches.MAX_RECIPIENTS, 1]
    assert built.left_out == 0
    assert [number for batch in built.batches for number in json.loads(batch.body)["recipients"]] == numbers
    assert built.batches[1].lines == [batches.MAX_RECIPIENTS + 1]


def test_a_batch_stays_below_the_size_that_the_api_takes() -> None:
    rows = "".join(f"154{index:08d},{'x' * 4000}\n" for index in range(5000))
    built = build_requests(_given("to,note\n" + rows), {"content": "$note"}, "CN")
    assert sum(batch.recipients for batch in built.batches) == 5000
    assert len(built.batches) == 2
    assert max(len(batch.body) for batch in built.batches) < 15 * 1024 * 1024


def test_a_number_of_an_earlier_batch_is_not_sent_again_by_a_later_one() -> None:
    numbers = [f"154{index:08d}" for index in range(batches.MAX_RECIPIENTS)]
    built = build_requests(_given("\n".join([*numbers, "+86 154 0000 0007", "13800138000"])), {"content": "x"}, "CN")
    assert json.loads(built.batches[1].body)["recipients"] == ["13800138000"]
    assert built.left_out == 1


def test_duplicates_within_a_batch_are_left_to_the_dispatcher() -> None:
    [body] = _bodies("13800138000\n13800138000\n", {"content": "x"})
    assert len(body["recipients"]) == 2
