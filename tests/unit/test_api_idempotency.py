"""Idempotency: what a key's second request is, with and without Redis, with and without the ledger."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from services.api.intake.idempotency import Acceptance, Idempotency, Verdict
from services.api.ledger import Ledger
from shared.cache import Cache
from shared.errors import LedgerUnavailable
from shared.ledger.reading import BatchView

MINE = Acceptance("f", 2, 1000)
OTHER = replace(MINE, fingerprint="g")
VIEW = BatchView(
    batch_id="b", fingerprint="f", status="running", template_id=None, recipients=2, counts={}, accepted_at_ms=900,
    send_at_ms=None, expires_at_ms=None, finished_at_ms=None, error_code=None, error_reason=None,
)  # fmt: skip


@dataclass
class FakeCache:
    """Redis as a dictionary; `fails` makes every call a miss."""

    kept: dict[str, bytes] = field(default_factory=dict)
    fails: bool = False

    async def get(self, key: str) -> bytes | None:
        return None if self.fails else self.kept.get(key)

    async def put(self, key: str, value: bytes, ttl_ms: int) -> None:
        assert ttl_ms > 0
        if not self.fails:
            self.kept[key] = value

    async def put_if_absent(self, key: str, value: bytes, ttl_ms: int) -> bytes | None:
        there = await self.get(key)
        if there is None:
            await self.put(key, value, ttl_ms)
        return there

    async def forget(self, key: str) -> None:
        self.kept.pop(key, None)


@dataclass
class FakeLedger:
    """A ledger with one batch, none, or none that can be reached."""

    view: BatchView | None = None
    is_down: bool = False

    async def batch(self, _batch_id: str, _timeout_s: float) -> BatchView | None:
        if self.is_down:
            raise LedgerUnavailable("down")
        return self.view


def acceptances(cache: Any = None, ledger: Any = None) -> Idempotency:
    return Idempotency(cast(Cache, cache or Cache(None, b"")), cast(Ledger, ledger or FakeLedger()), 60, 5)


async def test_a_first_request_is_new_and_its_repeat_is_repeated() -> None:
    ours = acceptances()
    assert await ours.begin("b", MINE) is Verdict.NEW
    await ours.accepted("b", MINE, keyed=True)
    assert await ours.begin("b", replace(MINE, accepted_at_ms=2000)) is Verdict.REPEATED
    assert await ours.begin("b", OTHER) is Verdict.OTHER_REQUEST


async def test_between_publish_and_confirm_a_repeat_is_under_way() -> None:
    ours = acceptances()
    assert await ours.begin("b", MINE) is Verdict.NEW
    assert await ours.begin("b", MINE) is Verdict.UNDER_WAY
    assert await ours.begin("b", OTHER) is Verdict.OTHER_REQUEST


async def test_after_a_failed_publish_the_next_request_tries_again_even_with_another_body() -> None:
    ours = acceptances(FakeCache())
    await ours.begin("b", MINE)
    await ours.given_up("b")
    assert await ours.begin("b", OTHER) is Verdict.NEW


async def test_two_processes_with_one_redis_know_of_each_other() -> None:
    cache = FakeCache()
    first, second = acceptances(cache), acceptances(cache)
    assert await first.begin("b", MINE) is Verdict.NEW
    assert await second.begin("b", MINE) is Verdict.UNDER_WAY
    await first.accepted("b", MINE, keyed=True)
    assert await second.begin("b", MINE) is Verdict.REPEATED
    assert await second.begin("b", OTHER) is Verdict.OTHER_REQUEST
    assert await second.find("b") == MINE


async def test_redis_that_fails_midway_loses_nothing_in_this_process() -> None:
    cache = FakeCache()
    ours = acceptances(cache)
    assert await ours.begin("b", MINE) is Verdict.NEW
    cache.fails = True
    await ours.accepted("b", MINE, keyed=True)
    assert await ours.begin("b", MINE) is Verdict.REPEATED


async def test_what_memory_and_redis_have_forgotten_the_ledger_knows() -> None:
    ours = acceptances(FakeCache(), FakeLedger(VIEW))
    assert await ours.begin("b", MINE) is Verdict.REPEATED
    assert await acceptances(None, FakeLedger(VIEW)).begin("b", OTHER) is Verdict.OTHER_REQUEST


async def test_a_ledger_that_cannot_be_reached_stops_nobody() -> None:
    assert await acceptances(None, FakeLedger(is_down=True)).begin("b", MINE) is Verdict.NEW


async def test_a_batch_that_nobody_could_read_keeps_its_key() -> None:
    ours = acceptances(None, FakeLedger(VIEW.model_copy(update={"fingerprint": ""})))
    assert await ours.begin("b", MINE) is Verdict.REPEATED


async def test_what_redis_returns_may_be_nonsense() -> None:
    cache = FakeCache({"sms:accepted:b": b"nonsense"})
    assert await acceptances(cache).find("b") is None
    assert await acceptances(cache).begin("b", MINE) is Verdict.NEW


async def test_an_unexpected_failure_leaves_no_key_under_way() -> None:
    class Broken(FakeLedger):
        async def batch(self, _batch_id: str, _timeout_s: float) -> BatchView | None:
            raise RuntimeError

    ours = acceptances(None, Broken())
    with pytest.raises(RuntimeError):
        await ours.begin("b", MINE)
    with pytest.raises(RuntimeError):
        await ours.begin("b", MINE)


async def test_a_batch_that_was_accepted_under_an_earlier_id_is_known_by_it() -> None:
    cache = FakeCache()
    await acceptances(cache).accepted("earlier", MINE, keyed=True)
    assert await acceptances(cache).known_as("new", ["other", "earlier"]) == "earlier"
    assert await acceptances(cache).known_as("new", ["other"]) == "new"
    assert await acceptances(None, FakeLedger(VIEW)).known_as("new", ["earlier"]) == "earlier"
    assert await acceptances(None, FakeLedger(is_down=True)).known_as("new", ["earlier"]) == "new"
