"""Which batches were accepted, and which are being accepted: what idempotency and a first GET need to know."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum, auto

import orjson

from services.api.ledger import Ledger
from shared.cache import Cache
from shared.errors import LedgerUnavailable

_REMEMBERED = 10_000
_UNKEYED_TTL_MS = 3600 * 1000
_LEDGER_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A request that was answered, or will be, with 202."""

    fingerprint: str
    recipients: int
    accepted_at_ms: int
    under_way: bool = False


_NO_CLAIM = Acceptance("", 0, 0)


class Verdict(Enum):
    """What a request with an idempotency key is."""

    NEW = auto()
    REPEATED = auto()
    OTHER_REQUEST = auto()
    UNDER_WAY = auto()


class Idempotency:
    """Remembers in this process, in Redis where there is one, and asks the ledger for what both have forgotten.

    None of them has to be there: a batch that is published twice under one key has one id, and the dispatcher writes
    it once. So a wrong NEW costs a message, and no batch is sent twice for what is forgotten here. Redis is believed
    only where it is signed (see `Cache`): what the version before has left there unsigned is forgotten.
    """

    def __init__(self, cache: Cache, ledger: Ledger, keyed_ttl_s: int, under_way_ttl_s: float) -> None:
        self._cache, self._ledger = cache, ledger
        self._keyed_ttl_ms, self._under_way_ttl_ms = keyed_ttl_s * 1000, round(under_way_ttl_s * 1000)
        self._known: OrderedDict[str, Acceptance] = OrderedDict()
        self._under_way: dict[str, Acceptance] = {}
        self._unsure: OrderedDict[str, Acceptance] = OrderedDict()

    async def known_as(self, batch_id: str, earlier: Sequence[str]) -> str:
        """The id under which a keyed batch is known: one of the earlier ones where it was accepted under that."""
        if batch_id in self._known or batch_id in self._under_way:
            return batch_id
        for candidate in earlier:
            if await self.find(candidate) or await self._in_ledger(candidate, _NO_CLAIM):
                return candidate
        return batch_id

    async def begin(self, batch_id: str, mine: Acceptance) -> Verdict:
        """Claim a keyed batch: after NEW, and only then, `accepted` or `given_up` has to follow."""
        if theirs := self._known.get(batch_id) or self._under_way.get(batch_id):
            return _compare(mine, theirs)
        if (unsure := self._unsure.get(batch_id)) and unsure.fingerprint != mine.fingerprint:
            return Verdict.OTHER_REQUEST
        claim = self._under_way[batch_id] = replace(mine, under_way=True)
        verdict = None
        try:
            verdict = await self._begin_elsewhere(batch_id, claim)
        finally:
            if verdict is not Verdict.NEW:
                self._under_way.pop(batch_id)
        return verdict

    async def accepted(self, batch_id: str, mine: Acceptance, *, keyed: bool) -> None:
        """The broker confirmed the batch."""
        _remember(self._known, batch_id, mine)
        self._under_way.pop(batch_id, None)
        await self._cache.put(_key(batch_id), _write(mine), self._keyed_ttl_ms if keyed else _UNKEYED_TTL_MS)

    def unsure(self, batch_id: str, mine: Acceptance) -> None:
        """The broker may have the batch all the same: until that is known, its key is for no other request."""
        _remember(self._unsure, batch_id, mine)

    async def given_up(self, batch_id: str) -> None:
        """The batch was not confirmed; the next request with its key tries again."""
        self._under_way.pop(batch_id, None)
        await self._cache.forget(_key(batch_id))

    async def find(self, batch_id: str) -> Acceptance | None:
        """What is remembered of a batch, without asking the ledger."""
        if known := self._known.get(batch_id):
            return known
        kept = await self._cache.get(_key(batch_id))
        return None if kept is None else _read(kept)

    async def _begin_elsewhere(self, batch_id: str, claim: Acceptance) -> Verdict:
        kept = await self._cache.put_if_absent(_key(batch_id), _write(claim), self._under_way_ttl_ms)
        if kept is not None and (theirs := _read(kept)) is not None:
            return _compare(claim, theirs)
        theirs = await self._in_ledger(batch_id, claim)
        if theirs is None:
            return Verdict.NEW
        _remember(self._known, batch_id, theirs)
        await self._cache.put(_key(batch_id), _write(theirs), self._keyed_ttl_ms)
        return _compare(claim, theirs)

    async def _in_ledger(self, batch_id: str, claim: Acceptance) -> Acceptance | None:
        try:
            view = await self._ledger.batch(batch_id, _LEDGER_TIMEOUT_S)
        except LedgerUnavailable:
            return None
        if view is None:
            return None
        # A batch whose message nobody could read is kept without a fingerprint; its key is used up all the same.
        return Acceptance(view.fingerprint or claim.fingerprint, view.recipients, view.accepted_at_ms)


def _remember(memory: OrderedDict[str, Acceptance], batch_id: str, acceptance: Acceptance) -> None:
    memory[batch_id] = acceptance
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def _compare(mine: Acceptance, theirs: Acceptance) -> Verdict:
    if mine.fingerprint != theirs.fingerprint:
        return Verdict.OTHER_REQUEST
    return Verdict.UNDER_WAY if theirs.under_way else Verdict.REPEATED


def _key(batch_id: str) -> str:
    return f"sms:accepted:{batch_id}"


def _write(acceptance: Acceptance) -> bytes:
    return orjson.dumps(asdict(acceptance))


def _read(kept: bytes) -> Acceptance | None:
    try:
        return Acceptance(**orjson.loads(kept))
    except (orjson.JSONDecodeError, TypeError):
        return None
