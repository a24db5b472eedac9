"""Redis, where there is one: every failure is a miss, and costs a bounded delay once in a while.

Redis proves nothing. A value carries an HMAC-SHA256 (RFC 2104) of its key and itself under a secret that Redis does not
have: what others wrote there, or moved from another key, is a miss like any other.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.places import place

_TIMEOUT_S = 0.3
_PAUSE_AFTER_FAILURE_S = 2.0
_MAC_BYTES = 32

log = structlog.get_logger()


class Cache:
    """Values by key, each for a time. Without Redis, or while it fails, nothing is found and nothing is kept.

    Processes with different secrets share nothing: to each, what the others keep is a miss.
    """

    def __init__(self, url: str | None, secret: bytes) -> None:
        self._redis = None if url is None else _client(url)
        self._server = url and place(url, 6379)
        self._secret = secret
        self._not_before = 0.0

    @property
    def is_away(self) -> bool:
        """There is no Redis, or it failed a moment ago and is not asked."""
        return self._redis is None or time.monotonic() < self._not_before

    async def get(self, key: str) -> bytes | None:
        """What is kept under the key, or None."""
        kept: bytes | None = await self._ask(lambda redis: redis.get(key))
        return None if kept is None else self._proved(key, kept)

    async def get_all(self, *keys: str) -> list[bytes | None]:
        """What is kept under each of the keys, in one round trip."""
        kept: list[bytes | None] = await self._ask(lambda redis: redis.mget(keys)) or [None] * len(keys)
        return [None if value is None else self._proved(key, value) for key, value in zip(keys, kept, strict=True)]

    async def put(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Keep a value."""
        await self.put_all({key: value}, ttl_ms)

    async def put_all(self, values: Mapping[str, bytes], ttl_ms: int) -> None:
        """Keep some values, in one round trip."""

        async def put(redis: Redis) -> None:
            async with redis.pipeline(transaction=False) as pipeline:
                for key, value in values.items():
                    pipeline.set(key, self._signed(key, value), px=ttl_ms)
                await pipeline.execute()

        if values:
            await self._ask(put)

    async def put_if_absent(self, key: str, value: bytes, ttl_ms: int) -> bytes | None:
        """Keep a value where there is none; what is there already, or None where this value was kept (or no Redis)."""
        signed = self._signed(key, value)
        kept: bytes | None = await self._ask(lambda redis: redis.set(key, signed, px=ttl_ms, nx=True, get=True))
        if kept is None:
            return None
        proved = self._proved(key, kept)
        if proved is None:
            await self.put(key, value, ttl_ms)  # in the place of what nobody with our secret wrote
        return proved

    async def forget(self, key: str) -> None:
        """Keep nothing under the key."""
        await self._ask(lambda redis: redis.delete(key))

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()

    async def _ask(self, question: Callable[[Redis], Awaitable[Any]]) -> Any:
        if self._redis is None or self.is_away:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await question(self._redis)
        except (RedisError, OSError, TimeoutError) as error:
            self._not_before = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            log.warning("redis_unavailable", server=self._server, reason=str(error) or type(error).__name__)
            return None

    def _signed(self, key: str, value: bytes) -> bytes:
        return self._mac(key, value) + value

    def _proved(self, key: str, kept: bytes) -> bytes | None:
        mac, value = kept[:_MAC_BYTES], kept[_MAC_BYTES:]
        return value if hmac.compare_digest(mac, self._mac(key, value)) else None

    def _mac(self, key: str, value: bytes) -> bytes:
        return hmac.digest(self._secret, key.encode() + b"\0" + value, "sha256")


def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
