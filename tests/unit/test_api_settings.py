"""The api's settings: what they read from the environment, and what they refuse."""

import os
import subprocess
import sys

import pytest

from services.api.settings import ApiSettings
from shared.errors import SettingsError
from shared.settings import load


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SMS_"):
            monkeypatch.delenv(name)


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_API_KEYS", "secret-1, secret-2,")
    monkeypatch.setenv("SMS_CORS_ORIGINS", "https://a.example,http://localhost:3000")
    settings = load(ApiSettings)
    assert [key.get_secret_value() for key in settings.api_keys] == ["secret-1", "secret-2"]
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    assert "secret-1" not in repr(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_without_keys_it_listens_on_loopback(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_API_HOST", host)
    assert load(ApiSettings).api_host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])  # noqa: S104 - to be refused
def test_without_keys_it_listens_nowhere_else(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_API_HOST", host)
    with pytest.raises(SettingsError, match="SMS_API_KEYS"):
        load(ApiSettings)
    monkeypatch.setenv("SMS_API_KEYS", "fifteen-letters")
    with pytest.raises(SettingsError, match=r"SMS_API_KEYS.*16 characters"):
        load(ApiSettings)
    monkeypatch.setenv("SMS_API_KEYS", "sixteen--letters")
    assert load(ApiSettings).api_host == host


@pytest.mark.parametrize("keys", [",", " , ", ",,"])
def test_keys_that_are_none_are_a_mistake(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_API_KEYS", keys)
    with pytest.raises(SettingsError, match="SMS_API_KEYS"):
        load(ApiSettings)


@pytest.mark.parametrize("origin", ["example.com", "https://example.com/", "ftp://example.com", "https://"])
def test_an_origin_is_what_a_browser_sends(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_CORS_ORIGINS", origin)
    with pytest.raises(SettingsError, match="SMS_CORS_ORIGINS"):
        load(ApiSettings)


@pytest.mark.parametrize(
    ("name", "value"), [("SMS_API_PORT", "http"), ("SMS_API_HOST", "0.0.0.0"), ("SMS_MAX_BODY_BYTES", "99999999")]  # noqa: S104
)  # fmt: skip
def test_a_bad_setting_is_one_line_and_exit_status_2(name: str, value: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "services.api"],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("bad settings: ")
    assert ended.stderr.count("\n") == 1
