"""A message to the broker, without a client library's types."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

Headers = Mapping[str, str | int]


class Outgoing(NamedTuple):
    """A persistent message to publish; `expiration_ms` is its own TTL."""

    exchange: str
    routing_key: str
    body: bytes
    type: str
    message_id: str
    correlation_id: str
    timestamp_s: int
    headers: Headers = MappingProxyType({})
    expiration_ms: int | None = None
