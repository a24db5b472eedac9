"""Tencent Cloud's signature of a request, TC3-HMAC-SHA256; pure.

https://cloud.tencent.com/document/api/382/52072 (signature v3).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest

_ALGORITHM = "TC3-HMAC-SHA256"
_SERVICE, _END = "sms", "tc3_request"


def canonical_request(headers: Mapping[str, str], body: bytes) -> str:
    """A POST to `/` as it is signed, with every one of these headers."""
    lines = [f"{name}:{headers[name].strip()}\n" for name in sorted(headers)]
    return "\n".join(("POST", "/", "", "".join(lines), _names(headers), sha256(body).hexdigest()))


def string_to_sign(request: str, timestamp: int) -> str:
    """What the key signs of a canonical request, at a Unix time."""
    return "\n".join((_ALGORITHM, str(timestamp), _scope(timestamp), sha256(request.encode()).hexdigest()))


def signature(secret_key: str, to_sign: str, timestamp: int) -> str:
    """By a key that is derived of the secret for the day (UTC) and the service."""
    key = f"TC3{secret_key}".encode()
    for part in (*_scope(timestamp).split("/"), to_sign):
        key = digest(key, part.encode(), sha256)
    return key.hex()


def authorization(secret_id: str, secret_key: str, headers: Mapping[str, str], body: bytes, timestamp: int) -> str:
    """The value of the Authorization header; the names of the headers are in lower case."""
    to_sign = string_to_sign(canonical_request(headers, body), timestamp)
    signed = signature(secret_key, to_sign, timestamp)
    return (
        f"{_ALGORITHM} Credential={secret_id}/{_scope(timestamp)}, SignedHeaders={_names(headers)}, Signature={signed}"
    )


def _scope(timestamp: int) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d}/{_SERVICE}/{_END}"


def _names(headers: Mapping[str, str]) -> str:
    return ";".join(sorted(headers))
