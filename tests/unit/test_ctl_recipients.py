"""CSV files as people have them: encodings, headers, what spreadsheets do to numbers."""

import pytest

from tools.ctl.errors import UsageError
from tools.ctl.recipients import RecipientList, decode, read_recipients


def _read(text: str) -> RecipientList:
    return read_recipients(text.encode())


def _numbers(text: str) -> list[str]:
    return [recipient.to for recipient in _read(text).recipients]


def _complaint(content: bytes) -> str:
    with pytest.raises(UsageError) as caught:
        read_recipients(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["to", "mobile", "phone", "Phone", "手机号"])
def test_the_column_of_numbers_is_found_by_its_name(name: str) -> None:
    given = _read(f"city,{name}\nBeijing,13800138000\n")
    assert [(recipient.to, recipient.variables) for recipient in given.recipients] == [
        ("13800138000", {"city": "Beijing"})
    ]


def test_a_single_column_needs_no_header() -> None:
    assert _numbers("13800138000\n+44 7400 123456\nnonsense\n") == ["13800138000", "+44 7400 123456", "nonsense"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_the_encodings_of_excel_are_read(encoding: str) -> None:
    given = read_recipients("手机号,name\r\n13800138000,王五\r\n".encode(encoding))
    assert given.recipients[0].variables == {"name": "王五"}


def test_a_file_in_another_encoding_is_refused() -> None:
    assert "neither UTF-8 nor GB18030" in _complaint("to\n13800138000\n".encode("utf-16"))
    with pytest.raises(UsageError):
        decode(b"a\0b")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_the_headers(delimiter: str) -> None:
    given = _read(f"to{delimiter}name\n13800138000{delimiter}Li\n")
    assert given.recipients[0].variables == {"name": "Li"}


def test_each_recipient_knows_its_line() -> None:
    given = _read('\nto,note\n\n13800138000,"two\nlines"\n13800138001,\n')
    assert [recipient.line for recipient in given.recipients] == [4, 6]


def test_empty_columns_at_the_end_are_passed_over() -> None:
    assert _numbers("to,name,,\n13800138000,Li,,\n13800138001,Wu\n") == ["13800138000", "13800138001"]


def test_columns_that_cannot_be_variables_are_named() -> None:
    given = _read("to,first name,name,姓名\n13800138000,a,b,c\n")
    assert given.variables == ("name",)
    assert set(given.left_out) == {"first name", "姓名"}
    assert given.recipients[0].variables == {"name": "b"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "the file has no recipients"),
        ("to\n\n", "a header and no recipients"),
        ("name,city\nLi,Beijing\n", "line 1: no column is named to"),
        ("number\n13800138000\n", "line 1: no column is named to"),
        ("to,phone\n1,2\n", "line 1: two columns of numbers"),
        ("to,name,name\n1,2,3\n", "line 1: two columns are named name"),
        ("to,name\n13800138000,Li\n13800138001\n", "line 3: 1 fields where the header has 2"),
        ("to,name\n13800138000,Li,x\n", "line 2: 3 fields where the header has 2"),
        ("13800138000\n13800138001,x\n", "line 2: 2 fields"),
        ("to,name\n,Li\n", "line 2: no number"),
        ("to\n1.38E+10\n", "line 2: a spreadsheet"),
        ("to\n13800138000\n13800138000.0\n", "line 3: a spreadsheet"),
        ('to,name\n13800138000,Li\n13800138001,"Wu\n', "line 3: "),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(content: str, complaint: str) -> None:
    assert complaint in _complaint(content.encode())
