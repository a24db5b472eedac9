"""Signatures are those that the vendors' own SDKs make: `signatures.json` holds what was seen of theirs."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from services.sender.providers.vendors import acs3, tc3
from shared.signatures import VonageSigning

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


def test_no_secret_is_in_a_repr() -> None:
    assert "hidden" not in repr(VonageSigning("hidden", "sha256"))
