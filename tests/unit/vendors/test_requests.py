"""Our requests are those that the vendors' own SDKs make: `wire.json` holds what was seen of theirs on a socket."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from services.sender.providers.gateway import Format, TextMessage
from services.sender.providers.vendors.infobip import InfobipFormat
from services.sender.providers.vendors.twilio import TwilioFormat
from services.sender.providers.vendors.vonage import VonageFormat

WIRE: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("wire.json").read_text())
NOW = datetime(2026, 11, 27, 8, tzinfo=UTC)
ACCOUNT = "AC00000000000000000000000000000001"
TOKEN = "faketoken0123456789abcdef01234567"
NOT_OURS = {"StatusCallback", "ValidityPeriod"}
HOST = "http://127.0.0.1:18080"


def sent(format_: Format, *messages: TextMessage) -> tuple[dict[str, str], dict[str, str], bytes]:
    """What is comparable, the headers and the body."""
    request = format_.request(messages, NOW)
    headers = {name.lower(): value for name, value in request.headers}
    return {"method": request.method, "target": request.url.removeprefix(HOST)}, headers, request.body


@pytest.mark.parametrize(
    ("name", "user", "secret", "sender", "text"),
    [
        ("twilio-wire-create-from", ACCOUNT, TOKEN, "+15005550006", "验证码 482913 & more=yes ~*"),
        ("twilio-wire-create-messaging-service", ACCOUNT, TOKEN, "MG00000000000000000000000000000001", "hi"),
        ("twilio-wire-create-api-key", "SK00000000000000000000000000000002", "fakeapikeysecret", "Acme", "hi"),
    ],
)
def test_twilio(name: str, user: str, secret: str, sender: str, text: str) -> None:
    theirs = WIRE[name]
    ours, headers, body = sent(
        TwilioFormat(ACCOUNT, user, secret, sender, HOST), TextMessage("b:0", "+15005550009", text)
    )
    assert ours == {"method": theirs["method"], "target": theirs["target"]}
    assert headers["authorization"] == theirs["authorization"]
    assert headers["content-type"] == theirs["content_type"]
    fields = {field: value for field, value in parse_qsl(theirs["body"]) if field not in NOT_OURS}
    assert dict(parse_qsl(body.decode(), strict_parsing=True)) == fields


def test_vonage() -> None:
    theirs = WIRE["vonage-wire-basic"]
    format_ = VonageFormat("abcd1234", "FakeVonageSecret01", "AcmeInc", HOST)
    ours, headers, body = sent(format_, TextMessage("ref-0001", "+447700900001", "Code 482913 & more=yes"))
    assert ours == {"method": theirs["method"], "target": theirs["target"]}
    assert headers["authorization"] == theirs["authorization"]
    assert headers["content-type"] == theirs["content_type"]
    assert dict(parse_qsl(body.decode(), strict_parsing=True)) == dict(parse_qsl(theirs["body"]))


@pytest.mark.parametrize(("text", "kind"), [("Price: 5 € [ok]", "text"), ("验证码", "unicode"), ("naïve", "unicode")])
def test_vonage_is_told_which_alphabet_a_text_takes(text: str, kind: str) -> None:
    _, _, body = sent(VonageFormat("k", "s", "Acme"), TextMessage("b:0", "+447700900001", text))
    fields = dict(parse_qsl(body.decode(), strict_parsing=True))
    assert (fields["text"], fields["type"]) == (text, kind)


def test_infobip() -> None:
    theirs = WIRE["infobip-wire-send"]
    key = theirs["authorization"].removeprefix("App ")
    messages = [TextMessage(f"msg-000{n}", f"+44770090000{n}", "Code 482913 验证码") for n in (1, 2)]
    ours, headers, body = sent(InfobipFormat(key, "AcmeInc", HOST), *messages)
    assert ours == {"method": theirs["method"], "target": theirs["target"]}
    assert headers["authorization"] == theirs["authorization"]
    assert headers["content-type"] == theirs["content_type"]
    assert _each(json.loads(body)) == _each(json.loads(theirs["body"]))


def test_infobips_id_is_of_one_attempt() -> None:
    messages = [TextMessage("b:7", "+447700900001", "x", attempt) for attempt in (1, 2)]
    bodies = [json.loads(sent(InfobipFormat("k", "Acme", HOST), message)[2]) for message in messages]
    ids = [body["messages"][0]["destinations"][0]["messageId"] for body in bodies]
    assert ids == ["b:7:1", "b:7:2"]


def _each(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """A message for each destination: the SDK's has both numbers in one, for they have one text."""
    return [
        (
            message["sender"],
            {**destination, "messageId": destination["messageId"].partition(":")[0]},
            message["content"],
        )
        for message in body["messages"]
        for destination in message["destinations"]
    ]
