"""Signatures are those that the vendors' own SDKs make: `signatures.json` holds what was seen of theirs."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from services.sender.providers.vendors import acs3, tc3
from shared.signatures import TwilioSigning, VonageSigning

VECTORS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("signatures.json").read_text())


def of(vendor: str) -> list[str]:
    return [name for name in VECTORS if name.startswith(vendor)]


@pytest.mark.parametrize("name", of("aliyun"))
def test_aliyuns(name: str) -> None:
    seen = VECTORS[name]
    parameters = seen.get("query") or dict(parse_qsl(urlsplit(seen.get("target", "")).query))
    query, body = acs3.canonical_query(parameters), seen["body"].encode()
    assert query == seen.get("canonical_query", query)
    request = acs3.canonical_request(query, seen["headers"], body)
    assert request == seen["canonical_request"]
    assert acs3.string_to_sign(request) == seen["string_to_sign"]
    assert acs3.content_hash(body) == seen["headers"]["x-acs-content-sha256"]
    assert acs3.authorization(*seen["key"], query, seen["headers"], body) == seen["authorization"]


@pytest.mark.parametrize("name", of("tencent"))
def test_tencents(name: str) -> None:
    seen = VECTORS[name]
    headers, body, timestamp = seen["headers"], seen["body"].encode(), seen["timestamp"]
    request = tc3.canonical_request(headers, body)
    assert request == seen["canonical_request"]
    assert (to_sign := tc3.string_to_sign(request, timestamp)) == seen["string_to_sign"]
    assert tc3.signature(seen["key"][1], to_sign, timestamp) == seen["signature"]
    assert tc3.authorization(*seen["key"], headers, body, timestamp) == seen["authorization"]


@pytest.mark.parametrize(
    ("name", "method"), [(name, method) for name in of("vonage") for method in VECTORS[name]["signatures"]]
)
def test_vonages(name: str, method: str) -> None:
    seen = VECTORS[name]
    assert VonageSigning(seen["secret"], method).of(seen["fields"]) == seen["signatures"][method]


WEBHOOKS = of("vonage-sig-webhook")


def signed_webhook(name: str) -> dict[str, str]:
    return {**VECTORS[name]["fields"], "sig": VECTORS[name]["signatures"]["sha256"]}


def vonage_verifies(name: str, fields: dict[str, str], secret: str | None = None) -> bool:
    return VonageSigning(secret or VECTORS[name]["secret"], "sha256").has_signed(fields)


@pytest.mark.parametrize("name", WEBHOOKS)
@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_what_vonage_has_signed_verifies_in_either_case(name: str, spelled: Any) -> None:
    fields = signed_webhook(name)
    assert vonage_verifies(name, {**fields, "sig": spelled(fields["sig"])})


@pytest.mark.parametrize("field", [(name, field) for name in WEBHOOKS for field in signed_webhook(name)])
def test_a_call_in_vonages_name_with_any_other_field_does_not_verify(field: tuple[str, str]) -> None:
    name, changed = field
    fields = signed_webhook(name)
    assert not vonage_verifies(name, {**fields, changed: f"{fields[changed]}0"})
    assert not vonage_verifies(name, {key: value for key, value in fields.items() if key != changed})


@pytest.mark.parametrize("name", WEBHOOKS)
def test_a_call_in_vonages_name_with_a_field_more_or_another_secret_does_not_verify(name: str) -> None:
    fields = signed_webhook(name)
    assert not vonage_verifies(name, {**fields, "more": ""})
    assert not vonage_verifies(name, fields, "another secret")
    assert not vonage_verifies(name, {**fields, "sig": "\udcff"})
    for method in ("md5-hash", "md5", "sha1", "sha512"):
        assert not VonageSigning(VECTORS[name]["secret"], method).has_signed(fields)


def twilio_verifies(name: str, **other: Any) -> bool:
    seen = {**VECTORS[name], **other}
    fields, body = list(seen["fields"].items()), seen["body"].encode()
    settings = "key=K1,algorithm=HMAC_SHA256" if seen["algorithm"] == "sha256" else ""
    signing = TwilioSigning(seen["secret"])
    return signing.has_signed(seen["signature"], seen["url"], fields, body or urlencode(fields).encode(), settings)


def with_explicit_port(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc}:443").geturl()


@pytest.mark.parametrize("name", of("twilio"))
def test_twilios(name: str) -> None:
    seen = VECTORS[name]
    assert TwilioSigning(seen["secret"]).of(seen["url"], seen["fields"].items(), seen["algorithm"]) == seen["signature"]
    assert twilio_verifies(name)


@pytest.mark.parametrize("name", of("twilio"))
def test_a_call_in_twilios_name_at_another_url_does_not_verify(name: str) -> None:
    url = VECTORS[name]["url"]
    for other in (
        url.replace("https", "http"),
        url.replace("sms.", "sns."),
        f"{url}&x=2",
        f"{url}/",
        url.replace("/dlr", "/DLR").replace("/mo", "/MO"),
        "",
    ):
        assert not twilio_verifies(name, url=other)


@pytest.mark.parametrize("field", [(name, field) for name in of("twilio") for field in VECTORS[name]["fields"]])
def test_a_call_in_twilios_name_with_any_other_field_does_not_verify(field: tuple[str, str]) -> None:
    name, changed = field
    fields = VECTORS[name]["fields"]
    assert not twilio_verifies(name, fields={**fields, changed: f"{fields[changed]}0"})
    assert not twilio_verifies(name, fields={key: value for key, value in fields.items() if key != changed})


@pytest.mark.parametrize("name", [name for name in of("twilio") if not VECTORS[name]["body"]])
def test_a_call_in_twilios_name_with_a_field_more_does_not_verify(name: str) -> None:
    assert not twilio_verifies(name, fields={**VECTORS[name]["fields"], "Zone": "1"})


def test_a_body_whose_hash_is_signed_verifies_as_it_is_and_not_changed() -> None:
    name = "twilio-signature-json-body"
    for body in ('{"a":2}', '{"a":1} ', " "):
        assert not twilio_verifies(name, body=body)
    url: str = VECTORS[name]["url"]
    assert not twilio_verifies(name, url=url.replace("bodySHA256=0", "bodySHA256=1"))
    assert not twilio_verifies(name, url=url.partition("?")[0])


@pytest.mark.parametrize("name", of("twilio"))
def test_a_call_in_twilios_name_with_another_token_or_signature_does_not_verify(name: str) -> None:
    signature = VECTORS[name]["signature"]
    assert not twilio_verifies(name, secret="another token")
    for other in ("", signature[:-1], signature.lower(), f"{signature} ", "\udcff"):
        assert not twilio_verifies(name, signature=other)


def test_a_shared_keys_signature_does_not_verify_by_the_older_hash() -> None:
    assert not twilio_verifies("twilio-signature-sha256-sharedkey", algorithm="sha1")
    assert not twilio_verifies("twilio-signature-status-callback", algorithm="sha256")


@pytest.mark.parametrize("name", [name for name in of("twilio") if "port" not in name])
def test_the_port_that_goes_without_saying_may_be_said_by_either_side(name: str) -> None:
    seen = VECTORS[name]
    said = with_explicit_port(seen["url"])
    assert twilio_verifies(name, url=said)
    signature = TwilioSigning(seen["secret"]).of(said, seen["fields"].items(), seen["algorithm"])
    assert twilio_verifies(name, signature=signature)


def test_a_port_of_its_own_has_to_be_the_one_that_was_signed() -> None:
    name = "twilio-signature-with-explicit-port"
    for port in ("", ":443", ":80", ":8444"):
        assert not twilio_verifies(name, url=VECTORS[name]["url"].replace(":8443", port))


def test_a_field_that_is_there_twice_is_signed_with_each_of_its_values_once() -> None:
    signing = TwilioSigning("token")
    once = signing.of("https://sms.example.test/", [("A", "1"), ("A", "2")])
    assert once == signing.of("https://sms.example.test/", [("A", "2"), ("A", "1"), ("A", "2")])
    assert once != signing.of("https://sms.example.test/", [("A", "1")])


def test_no_secret_is_in_a_repr() -> None:
    assert "hidden" not in repr(VonageSigning("hidden", "sha256"))
    assert "hidden" not in repr(TwilioSigning("hidden"))
