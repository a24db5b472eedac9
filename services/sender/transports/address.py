"""What a URL says: where to connect, and the head of a request; pure."""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from yarl import URL

Headers = Sequence[tuple[str, str]]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2."""
_DEFAULTS: Headers = (("User-Agent", "sms-batch"), ("Accept", "*/*"))


@dataclass(frozen=True, slots=True)
class Address:
    """A host (in ASCII, without brackets) and port to connect to, and the target to ask it for.

    Not shown in a repr: `url`, which is without user and password, and `authorization` may have a password or a key.
    """

    host: str
    port: int
    is_https: bool
    url: URL
    authorization: str | None

    @classmethod
    def of(cls, url: str) -> "Address":
        """The address in an http or https URL; the ValueError quotes nothing of it.

        `user:password@` becomes Basic authentication. What is not ASCII, and what could end a line, is percent-encoded.
        """
        try:
            parts = URL(url)
            host, port = parts.raw_host, parts.port
        except ValueError:
            host, port = None, None
        if not host or not port or parts.scheme not in ("http", "https"):
            raise ValueError("not the URL of a provider: check scheme, host and port")
        authorization = _authorization(parts.user, parts.password)
        return cls(host, port, parts.scheme == "https", parts.with_user(None), authorization)

    def headers(self, given: Headers) -> Iterator[tuple[str, str]]:
        """The headers of a request, those that are given among them, which come before defaults; ValueError for one
        that could end its line."""
        names = {name.lower() for name, _value in given}
        yield from ((name, value) for name, value in _DEFAULTS if name.lower() not in names)
        if self.authorization is not None and "authorization" not in names:
            yield "Authorization", self.authorization
        for name, value in given:
            if not (_TOKEN.fullmatch(name) and value.isascii() and value.isprintable()):
                raise ValueError("not a header: its name must be a token, its value printable ASCII")
            yield name, value

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({self.place})"


def _authorization(user: str | None, password: str | None) -> str | None:
    if user is None and password is None:
        return None
    credentials = f"{user or ''}:{password or ''}"
    try:
        octets = credentials.encode("latin-1")
    except UnicodeEncodeError:
        octets = credentials.encode()
    return f"Basic {b64encode(octets).decode()}"
