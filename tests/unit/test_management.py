"""Where RabbitMQ's management API is."""

import pytest

from shared.management import management_api
from shared.settings import Settings


@pytest.mark.parametrize(
    ("amqp", "management", "where", "user"),
    [
        ("amqp://a:p@h/", None, "http://h:15672", "a"),
        ("amqp://a:p@h:5673/,amqp://a:p@g/", None, "http://h:15672, http://g:15672", "a"),
        ("amqps://a:p@h/", None, "https://h:15671", "a"),
        ("amqp://a:p@[::1]/", None, "http://[::1]:15672", "a"),
        ("amqp://a:p@h/", "https://m.example/rabbit/", "https://m.example/rabbit", "a"),
        ("amqp://a:p@h/", "http://b:s%40t@m:1", "http://m:1", "b"),
    ],
)
def test_the_management_api_is_found_by_its_setting_or_beside_the_broker(
    amqp: str, management: str | None, where: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMS_AMQP_URL", amqp)
    monkeypatch.delenv("SMS_MANAGEMENT_URL", raising=False)
    if management is not None:
        monkeypatch.setenv("SMS_MANAGEMENT_URL", management)
    found = management_api(Settings())
    assert found is not None
    assert (found.where, found.user) == (where, user)


def test_an_empty_management_setting_means_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_MANAGEMENT_URL", "")
    assert management_api(Settings()) is None
