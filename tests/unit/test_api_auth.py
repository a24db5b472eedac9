"""Who may use an api that has no keys."""

import pytest

from services.api.serving.auth import is_proxied, is_stranger


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", None),
        ("localhost:8080", None),
        ("[::1]:8080", None),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080", "https://shop.example"),
    ],
)
def test_this_machine_and_known_origins_may_send(host: str, origin: str | None) -> None:
    assert not is_stranger(host, origin, ["https://shop.example"])


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", "https://evil.example"),
        ("127.0.0.1:8080", "null"),
        ("127.0.0.1:8080", "http://127.0.0.1:9999"),
        ("evil.example", None),
        ("evil.example:8080", "http://evil.example:8080"),
        ("", None),
    ],
)
def test_a_page_of_another_origin_may_not_make_this_machine_send(host: str, origin: str | None) -> None:
    assert is_stranger(host, origin, ["https://shop.example"])


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "x-forwarded-proto", "X-Forwarded-Host", "Via"])
def test_what_a_proxy_passed_on_is_a_strangers(name: str) -> None:
    assert is_proxied({"Host": "localhost", name: "x"})
    assert not is_proxied({"Host": "localhost", "User-Agent": "x"})
