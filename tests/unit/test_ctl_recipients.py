"""CSV files as people have them: encodings, headers, what spreadsheets do to numbers."""

import pytest

from services.dispatcher.expand import expand
from shared.ids import new_batch_id
from shared.ledger.intake import Content
from shared.messages import BatchMessage
from tools.ctl.batches.encodings import decode
from tools.ctl.batches.recipients import RecipientList, read_recipients
from tools.ctl.errors import UsageError


def _read(text: str) -> RecipientList:
    return read_recipients(text)


def _numbers(text: str) -> list[str]:
    return [recipient.to for recipient in _read(text).recipients]


def _complaint(content: bytes) -> str:
    with pytest.raises(UsageError) as caught:
        read_recipients(decode(content).text)
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_the_encodings_of_excel_are_read(encoding: str) -> None:
    given = read_recipients(decode("手机号,name\r\n13800138000,王五\r\n".encode(encoding)).text)
    assert given.recipients[0].variables == {"name": "王五"}


def test_a_file_in_another_encoding_is_refused() -> None:
    assert "line 2: the bytes e9 0a are not UTF-8" in _complaint(b"to,name\n1,Jos\xe9\n")
    with pytest.raises(UsageError, match="NUL"):
        decode(b"a\0b")
    with pytest.raises(UsageError, match="no encoding 'klingon'"):
        decode(b"a", "klingon")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "，"])
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
    assert given.variables == ("name", "姓名")
    assert given.left_out == ("first name",)
    assert given.recipients[0].variables == {"name": "b", "姓名": "c"}


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
        ('to,name\n13800138000,Li\n13800138001,"Wu\n', "line 3: "),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(content: str, complaint: str) -> None:
    assert complaint in _complaint(content.encode())


def _sent(content: bytes, encoding: str | None = None) -> list[tuple[str, str | None]]:
    """What becomes of each row: the number or the code, and the text of "Dear $name"."""
    given = read_recipients(decode(content, encoding).text)
    recipients = [{"to": one.to, "variables": dict(one.variables)} for one in given.recipients]
    batch = BatchMessage.model_validate(
        {"batch_id": new_batch_id(0), "fingerprint": "f", "accepted_at_ms": 1, "recipients": recipients}
    )
    return [(row.error_code or row.recipient, row.text) for row in expand(batch, Content("$name", "$name"), "CN", 1000)]


LI, WU = ("+8613800138000", "Li"), ("+8613800138001", "Wu")


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b"mobile,name\n'13800138000,Li\n'13800138001,Wu\n", [LI, WU]),
        (b'mobile,name\n"=""13800138000""",Li\n', [LI]),
        (b'mobile,name\n"13800138000\t",Li\n"`13800138001",Wu\n', [LI, WU]),
        (b"mobile,name\r13800138000,Li\r13800138001,Wu\r", [LI, WU]),
        (b"mobile,name\n13800138000.0,Li\n", [LI]),
        (b"mobile,name\n13800138000.00,Li\n", [LI]),
        (b"mobile,name\n+85291234568.0,Li\n", [("+85291234568", "Li")]),
        (b"mobile,name\n1.38001E+10,Li\n", [("spreadsheet_notation", None)]),
        (b"mobile;name\n1,38001E+10;Li\n", [("spreadsheet_notation", None)]),
        (b"sep=;\r\nmobile;name\r\n13800138000;Li\r\n", [LI]),
        (b"mobile;name\n13800138000;Li, Lei\n", [("+8613800138000", "Li, Lei")]),
        (b"mobile,name\n13800138000,Li\n,Total: 1\n", [LI, ("invalid_number", None)]),
        (b"mobile,name\n13800138000,Li\nmobile,name\n13800138001,Wu\n", [LI, ("invalid_number", None), WU]),
        (b"mobile,name\n13800138000,Li\n,\n,\n13800138001,Wu\n", [LI, WU]),
        (b'mobile,name\n"13,800,138,000",Li\n', [("invalid_number", None)]),
        ("mobile,name\n\u202d13800138000\u202c,Li\n\u200b13800138001,Wu\n".encode(), [LI, WU]),
        ("手机号，name\n13800138000，李雷\n".encode(), [("+8613800138000", "李雷")]),
        ("手机号,name\n13800138000,李雷\n".encode("gbk"), [("+8613800138000", "李雷")]),
        (
            "mobile,name\n13800138000,朱镕基\n13800138001,王小明\n".encode("gbk"),
            [("+8613800138000", "朱镕基"), ("+8613800138001", "王小明")],
        ),
        ("mobile\tname\n13800138000\tNgọ\n".encode("utf-16"), [("+8613800138000", "Ngọ")]),
    ],
)
def test_what_people_export_is_read_as_a_person_reads_it(content: bytes, sent: list[tuple[str, str | None]]) -> None:
    assert _sent(content) == sent


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("+34612345678,José", "cp1252"),
        ("+4915112345678,Müller\n+4915112345679,Jürgen Groß", "cp1252"),
        ("13800138000,Zoë\n13800138001,André", "cp1252"),
        ("+819012345678,山田太郎", "shift_jis"),
        ("+79161234567,Привет", "cp1251"),
    ],
)
def test_what_could_be_several_encodings_is_refused_until_somebody_says_which(text: str, encoding: str) -> None:
    content = f"mobile,name\n{text}\n".encode(encoding)
    complaint = _complaint(content)
    assert "--encoding" in complaint
    assert complaint.startswith("line 2: the bytes ")
    assert [name for _number, name in _sent(content, encoding)] == [line.partition(",")[2] for line in text.split("\n")]
