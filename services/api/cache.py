"""Redis, where there is one: every failure is a miss, and costs a bounded delay once in a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.places import place

_TIMEOUT_S = 0.3
_PAUSE_AFTER_FAILURE_S = 2.0

log = structlog.get_logger()


class Cache:
    """Texts by key, each for a time. Without Redis, or while it fails, nothing is found and nothing is kept."""

    def __init__(self, url: str | None) -> None:
        self._redis = None if url is None else _client(url)
        self._server = url and place(url, 6379)
        self._not_before = 0.0

    async def get(self, key: str) -> bytes | None:
        """What is kept under the key, or None."""
        kept: bytes | None = await self._ask(lambda redis: redis.get(key))
        return kept

    async def put(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Keep a value."""
        await self._ask(lambda redis: redis.set(key, value, px=ttl_ms))

    async def put_if_absent(self, key: str, value: bytes, ttl_ms: int) -> bytes | None:
        """Keep a value where there is none; what is there already, or None where this value was kept (or no Redis)."""
        kept: bytes | None = await self._ask(lambda redis: redis.set(key, value, px=ttl_ms, nx=True, get=True))
        return kept

    async def forget(self, key: str) -> None:
        """Keep nothing under the key."""
        await self._ask(lambda redis: redis.delete(key))

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()

    async def _ask(self, question: Callable[[Redis], Awaitable[Any]]) -> Any:
        if self._redis is None or time.monotonic() < self._not_before:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await question(self._redis)
        except (RedisError, OSError, TimeoutError) as error:
            self._not_before = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            log.warning("redis_unavailable", server=self._server, reason=str(error) or type(error).__name__)
            return None


def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
