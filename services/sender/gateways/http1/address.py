"""What a provider's URL says: where to connect, and the head of every request; pure."""

from base64 import b64encode
from dataclasses import dataclass

from yarl import URL

_HEAD = (
    "POST {target} HTTP/1.1\r\n"
    "Host: {host}\r\n"
    "User-Agent: sms-batch\r\n"
    "Accept: */*\r\n"
    # We do not decompress.
    "Accept-Encoding: identity\r\n"
    "{authorization}"
    "Content-Type: application/json\r\n"
    "Content-Length: "
)


@dataclass(frozen=True, slots=True)
class Address:
    """A host (in ASCII, without brackets) and port to connect to; `head` is the request up to the body's length.

    Not shown in a repr: `head` may have a password and a key.
    """

    host: str
    port: int
    is_https: bool
    head: bytes

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
        return cls(host, port, parts.scheme == "https", _head(parts))

    def request(self, body: bytes) -> bytes:
        """The whole request that posts this body."""
        return b"%b%d\r\n\r\n%b" % (self.head, len(body), body)

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({self.place})"


def _head(url: URL) -> bytes:
    head = _HEAD.format(
        target=url.raw_path_qs, host=url.host_port_subcomponent, authorization=_authorization(url.user, url.password)
    )
    return head.encode("ascii")


def _authorization(user: str | None, password: str | None) -> str:
    if user is None and password is None:
        return ""
    credentials = f"{user or ''}:{password or ''}"
    try:
        octets = credentials.encode("latin-1")
    except UnicodeEncodeError:
        octets = credentials.encode()
    return f"Authorization: Basic {b64encode(octets).decode()}\r\n"
