import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from services.sender.transports import HttpRequest
from services.sender.transports.address import Address
from services.sender.transports.http1.transport import head_of

TEXT = st.text(min_size=1, max_size=40)


def head(url: str) -> bytes:
    return head_of(HttpRequest("POST", url, (("Content-Type", "application/json"),), b""), Address.of(url))


@pytest.mark.parametrize(
    ("url", "host", "port", "is_https", "host_header"),
    [
        ("http://sms.example/messages", "sms.example", 80, False, "sms.example"),
        ("https://sms.example", "sms.example", 443, True, "sms.example"),
        ("http://sms.example:8080/", "sms.example", 8080, False, "sms.example:8080"),
        ("https://sms.example:443/", "sms.example", 443, True, "sms.example"),
        ("https://[2001:db8::1]:8443/", "2001:db8::1", 8443, True, "[2001:db8::1]:8443"),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, False, "xn--bcher-kva.example"),
        ("https://短信.中国/", "xn--vuq298g.xn--fiqs8s", 443, True, "xn--vuq298g.xn--fiqs8s"),
    ],
)
def test_a_url_says_where_to_connect(url: str, host: str, port: int, is_https: bool, host_header: str) -> None:  # noqa: FBT001
    address = Address.of(url)
    assert (address.host, address.port, address.is_https) == (host, port, is_https)
    assert f"\r\nHost: {host_header}\r\n".encode() in head(url)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://h", "/"),
        ("http://h/", "/"),
        ("http://h?x=1", "/?x=1"),
        ("http://h/a b/ä?q=ü&r=%2F#part", "/a%20b/%C3%A4?q=%C3%BC&r=/"),
    ],
)
def test_a_url_says_what_to_ask_for(url: str, target: str) -> None:
    assert head(url).split(b"\r\n")[0] == f"POST {target} HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("user_info", "credentials"),
    [
        ("user:password@", b"user:password"),
        ("user@", b"user:"),
        (":password@", b":password"),
        ("us%40er:pass%3Aword@", b"us@er:pass:word"),
        ("m%C3%BCller:x@", "müller:x".encode("latin-1")),
        ("%E7%94%A8:x@", "用:x".encode()),
    ],
)
def test_user_and_password_become_basic_authentication(user_info: str, credentials: bytes) -> None:
    octets = head(f"http://{user_info}h/")
    assert b"\r\nAuthorization: Basic " + base64.b64encode(credentials) + b"\r\n" in octets
    assert b"\r\nHost: h\r\n" in octets


def test_without_user_and_password_there_is_no_authentication() -> None:
    assert b"Authorization" not in head("http://h/")


@pytest.mark.parametrize(
    "url", ["http://", "http:///secret", "ftp://h/secret", "//h/secret", "http://h:99999/secret", "http://[::secret/", "http://h:0/"]
)  # fmt: skip
def test_what_is_no_providers_url_is_said_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^not the URL of a provider: check scheme, host and port$") as raised:
        Address.of(url)
    assert raised.value.__context__ is None


def test_a_repr_shows_no_secret() -> None:
    assert "secret" not in repr(Address.of("http://user:secret@h/?key=secret"))


@given(path=TEXT, key=TEXT, value=TEXT, user=TEXT, password=TEXT)
def test_nothing_in_a_url_can_add_a_line_to_the_head(path: str, key: str, value: str, user: str, password: str) -> None:
    url = str(URL.build(scheme="http", host="h", path="/" + path, query={key: value}, user=user, password=password))
    for each in (url, f"http://h/{path}?{key}={value}"):
        try:
            lines = head(each).decode("ascii").split("\r\n")
        except ValueError:
            continue
        names = [line.split(":")[0] for line in lines[1:]]
        assert "\n" not in "".join(lines)
        assert "\r" not in "".join(lines)
        assert lines[0].startswith("POST /")
        assert lines[0].endswith(" HTTP/1.1")
        assert lines[0].count(" ") == 2
        assert [name for name in names if name != "Authorization"] == [
            "Host", "Accept-Encoding", "User-Agent", "Accept", "Content-Type", "Content-Length"
        ]  # fmt: skip
