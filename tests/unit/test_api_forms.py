"""What a form may look like, and what becomes of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.intake.forms import members_of_form, members_of_json, members_of_multipart
from services.api.serving.problems import Problem

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


def multipart(*parts: tuple[str, str | bytes], charset: str = "utf-8", boundary: str = "x") -> bytes:
    """A body whose parts have these headers, after `Content-Disposition: form-data; `, and these contents."""
    body = b""
    for head, content in parts:
        octets = content if isinstance(content, bytes) else content.encode(charset)
        body += f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + octets + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def members(body: bytes, charset: str | None = None) -> dict[str, object]:
    return members_of_multipart(body, 100, b"x", charset)


TEXT = ('name="content"', "你好")


@pytest.mark.parametrize(
    "parts",
    [
        [('name="mobiles[]"', "13800138000"), ('name="mobiles[]"', "13900139000")],
        [('name="mobiles"', "13800138000"), ('name="mobiles"', " 13900139000 ")],
        [('name="mobiles[0]"', "13800138000"), ("name=mobiles[1]", "13900139000")],
        [('name="mobiles"', "13800138000, 13900139000")],
        [('name="mobiles"; filename="numbers.txt"\r\nContent-Type: text/plain', "13800138000\r\n13900139000\r\n")],
        [('filename="; name=\\"content\\""; name="mobiles"\r\ncontent-type: text/plain', "13800138000;13900139000")],
        [('name="mobiles"', "13800138000\n13900139000"), ('name="photo"; filename=""', "")],
    ],
)
def test_every_spelling_of_the_array_is_the_same_two_numbers_in_a_multipart_form(parts: list[tuple[str, str]]) -> None:
    assert members(multipart(*parts, TEXT)) == {"recipients": BOTH, "content": "你好"}


def test_in_a_multipart_form_a_plus_is_a_plus_and_a_blank_is_nothing() -> None:
    body = multipart(('name="mobiles"', "+447911123456, 8613800138000"), TEXT)
    assert members(body)["recipients"] == ["+447911123456", "8613800138000"]


def test_a_preamble_an_epilogue_and_padding_are_passed_over() -> None:
    body = multipart(('name="mobiles"', "1"), TEXT).replace(b"--x\r\n", b"--x \t\r\n")
    assert members(b"for old mail readers\r\n" + body + b"--x\r\nmore") == {"recipients": ["1"], "content": "你好"}


@pytest.mark.parametrize("charset", ["gbk", "GB2312", "gb18030", "utf-8", "UTF8"])
def test_a_form_is_read_in_the_charset_that_its_content_type_names(charset: str) -> None:
    content = "".join(f"%{octet:02X}" for octet in "你好，媒".encode(charset))
    read = members_of_form(f"mobiles=1&content={content}".encode(), 100, charset)
    assert read == members(multipart(('name="mobiles"', "1"), ('name="content"', "你好，媒"), charset=charset), charset)
    assert read["content"] == "你好，媒"


def test_a_browser_escapes_only_those_octets_of_gbk_that_are_no_ascii() -> None:
    assert "丄".encode("gbk") == b"\x81A"
    assert members_of_form(b"mobiles=1&content=%81A", 100, "gbk")["content"] == "丄"


@pytest.mark.parametrize("charset", ["GBK", "gb18030"])
def test_without_one_in_the_content_type_the_forms_charset_field_names_it(charset: str) -> None:
    content = "".join(f"%{octet:02X}" for octet in "你好".encode("gbk"))
    wanted = {"recipients": ["1"], "content": "你好"}
    assert members_of_form(f"mobiles=1&content={content}&_charset_={charset}".encode(), 100) == wanted
    parts = ('name="mobiles"', "1"), TEXT, ('name="_charset_"', charset)
    assert members(multipart(*parts, charset="gbk")) == wanted
    # jQuery's own: it always names UTF-8, and the field is empty to a script.
    assert members_of_form(b"mobiles=1&content=%E4%BD%A0%E5%A5%BD&_charset_=", 100, "UTF-8") == wanted


def test_a_part_may_name_a_charset_of_its_own() -> None:
    part = ('name="content"\r\nContent-Type: text/plain; charset="GBK"', "你好".encode("gbk"))
    assert members(multipart(('name="mobiles"', "1"), part))["content"] == "你好"


@pytest.mark.parametrize(
    ("body", "charset", "status"),
    [
        (b"mobiles=1&content=%81A", None, 400),
        (b"mobiles=1&content=%ff", "gbk", 400),
        (b"mobiles=1&content=x", "utf-16", 415),
        (b"mobiles=1&content=x", "rot13", 415),
        (b"mobiles=1&content=x&_charset_=rot13", None, 415),
        (b"mobiles=1&content=x&_charset_=%ff", None, 415),
    ],
)
def test_another_charset_than_ours_or_than_the_forms_is_a_problem(
    body: bytes, charset: str | None, status: int
) -> None:
    with pytest.raises(Problem) as raised:
        members_of_form(body, 100, charset)
    assert raised.value.status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"--y\r\n", 400),
        (b"--x", 400),
        (multipart(('name="mobiles"', "1"))[:-6], 400),
        (multipart(('name="mobiles"', "1"))[:-9], 400),
        (b"--x\r\n\r\n1\r\n--x--", 400),
        (b'--x\r\nContent-Disposition: attachment; name="mobiles"\r\n\r\n1\r\n--x--', 400),
        (b'--xy\r\nContent-Disposition: form-data; name="mobiles"\r\n\r\n1\r\n--x--', 400),
        (multipart((f'name="{"m" * 3000}"', "1")), 400),
        (multipart(('name="mobiles"', b"\xff")), 400),
        (multipart(('name="content"\r\nContent-Transfer-Encoding: base64', "eA==")), 400),
        (multipart(('name="content"\r\nContent-Type: text/plain; charset=rot13', "x")), 415),
        (multipart(('name="_charset_"', "rot13")), 415),
        (multipart(('name="photo"; filename="a.jpg"', "x")), 422),
        (multipart(TEXT, TEXT), 422),
        (multipart(*[('name="mobiles"', "1")] * 200), 422),
    ],
)
def test_what_is_no_such_multipart_form_is_a_problem(body: bytes, status: int) -> None:
    with pytest.raises(Problem) as raised:
        members(body)
    assert raised.value.status == status


@settings(deadline=None)
@given(st.binary(max_size=100), st.binary(max_size=100))
def test_any_bytes_in_a_multipart_form_are_members_or_a_problem(head: bytes, content: bytes) -> None:
    for body in (head, b"--x\r\n" + head + b"\r\n\r\n" + content + b"\r\n--x--"):
        read: dict[str, object] | Problem
        try:
            read = members(body)
        except Problem as problem:
            read = problem
        assert read.status in (400, 415, 422) if isinstance(read, Problem) else isinstance(read["recipients"], list)
