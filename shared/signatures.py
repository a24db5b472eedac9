"""How vendors sign what they call us with, and what some want signed of ours; pure."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest, digest
from urllib.parse import parse_qsl, urlsplit, urlunsplit

_DEFAULT_PORTS = {"https": 443, "http": 80}
_BODY_HASH = "bodySHA256"
_TWILIO_HASHES = {"HMAC_SHA256": "sha256"}


@dataclass(frozen=True)
class VonageSigning:
    """How requests of an account at Vonage are signed, theirs and ours: `md5-hash`, or an HMAC with that hash."""

    secret: str = field(repr=False)
    method: str

    def of(self, fields: Mapping[str, str]) -> str:
        """The value of `sig` (https://developer.vonage.com/en/getting-started/concepts/signing-messages)."""
        text = "".join(f"&{name}={re.sub('[&=]', '_', fields[name])}" for name in sorted(fields))
        if self.method == "md5-hash":
            return hashlib.md5(f"{text}{self.secret}".encode(), usedforsecurity=False).hexdigest()
        return digest(self.secret.encode(), text.encode(), self.method).hex()

    def has_signed(self, fields: Mapping[str, str]) -> bool:
        """Whether `sig` is the one of all other fields."""
        others = {name: value for name, value in fields.items() if name != "sig"}
        return _same(self.of(others), fields.get("sig", "").lower())


@dataclass(frozen=True)
class TwilioSigning:
    """How Twilio signs what it calls us with (https://www.twilio.com/docs/usage/security): `secret` is the account's
    AuthToken, or the shared key of an account that has one."""

    secret: str = field(repr=False)

    def of(self, url: str, fields: Iterable[tuple[str, str]] = (), algorithm: str = "sha1") -> str:
        """The value of X-Twilio-Signature for a URL as it was called, and a form's fields."""
        values: dict[str, set[str]] = {}
        for name, value in fields:
            values.setdefault(name, set()).add(value)
        told = "".join(f"{name}{value}" for name in sorted(values) for value in sorted(values[name]))
        return base64.b64encode(digest(self.secret.encode(), f"{url}{told}".encode(), algorithm)).decode()

    def has_signed(
        self, signature: str, url: str, fields: Sequence[tuple[str, str]], body: bytes, settings: str = ""
    ) -> bool:
        """Whether the signature is of this call: with a form of `fields`, or with a body whose hash is in the URL.

        `settings` is the header X-Twilio-Webhooks-Signature-Settings, of accounts with a shared key.
        """
        named = dict(part.strip().partition("=")[::2] for part in settings.split(","))
        algorithm = _TWILIO_HASHES.get(named.get("algorithm", ""), "sha1")
        body_hash = dict(parse_qsl(urlsplit(url).query)).get(_BODY_HASH)
        if body_hash is not None:
            if not _same(hashlib.sha256(body).hexdigest(), body_hash.lower()):
                return False
            fields = ()
        # Whether the port that goes without saying is said depends on what stands before us.
        return any(_same(self.of(each, fields, algorithm), signature) for each in _with_and_without_port(url))


def names_body(url: str) -> bool:
    """Whether the hash of a call's body is in its URL, which Twilio signs where the body is no form."""
    return _BODY_HASH in dict(parse_qsl(urlsplit(url).query))


def _with_and_without_port(url: str) -> Sequence[str]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    default = _DEFAULT_PORTS.get(parts.scheme)
    if port is None and default is not None:
        return url, urlunsplit(parts._replace(netloc=f"{parts.netloc}:{default}"))
    return (url, urlunsplit(parts._replace(netloc=host))) if port == default else (url,)


def _same(expected: str, given: str) -> bool:
    return compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))
