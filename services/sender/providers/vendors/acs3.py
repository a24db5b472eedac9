"""Alibaba Cloud's signature of a request, ACS3-HMAC-SHA256; pure.

https://help.aliyun.com/document_detail/2593177.html (V3 request structure and signature).
"""

from collections.abc import Mapping
from hashlib import sha256
from hmac import digest
from urllib.parse import quote

_ALGORITHM = "ACS3-HMAC-SHA256"


def canonical_query(parameters: Mapping[str, str]) -> str:
    """The parameters by their names, percent-encoded as RFC 3986 has it: this is what is signed, and a query too."""
    return "&".join(f"{_encoded(name)}={_encoded(parameters[name])}" for name in sorted(parameters))


def canonical_request(query: str, headers: Mapping[str, str], body: bytes) -> str:
    """A POST to `/` as it is signed, with every one of these headers."""
    lines = [f"{name}:{headers[name].strip()}\n" for name in sorted(headers)]
    return "\n".join(("POST", "/", query, "".join(lines), _names(headers), content_hash(body)))


def string_to_sign(request: str) -> str:
    """What the key signs of a canonical request."""
    return f"{_ALGORITHM}\n{content_hash(request.encode())}"


def authorization(key_id: str, secret: str, query: str, headers: Mapping[str, str], body: bytes) -> str:
    """The value of the Authorization header; the names of the headers are in lower case."""
    signed = string_to_sign(canonical_request(query, headers, body))
    signature = digest(secret.encode(), signed.encode(), sha256).hex()
    return f"{_ALGORITHM} Credential={key_id},SignedHeaders={_names(headers)},Signature={signature}"


def content_hash(content: bytes) -> str:
    """Of a body, for `x-acs-content-sha256`."""
    return sha256(content).hexdigest()


def _names(headers: Mapping[str, str]) -> str:
    return ";".join(sorted(headers))


def _encoded(value: str) -> str:
    return quote(value, safe="")
