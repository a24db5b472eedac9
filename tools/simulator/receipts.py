"""Receipts: the simulator tells what became of the texts that it took, late, twice, in another order or never, as asked
for, and each vendor's in its own form."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

import aiohttp
from pydantic import BaseModel, ConfigDict, Field
from yarl import URL

_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_TIMEOUT_S = 10.0
_ROUND_S = 0.05
_AT_ONCE = 100
"""Receipts in one push, of vendors that push several."""
_CALLS_AT_ONCE = 20


class ReceiptBehaviour(BaseModel):
    """Where receipts go, and how. `urls` are by kind of API (plain, aliyun, tencent), of those that get no URL with
    each message; none for a kind: it tells nothing.

    `shuffled_s`: each is late by up to so much more. Tried again until the answer is a 2xx, `tries` times.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    urls: Mapping[str, str] = {}
    delay_s: float = Field(default=0.0, ge=0, le=3600)
    shuffled_s: float = Field(default=0.0, ge=0, le=3600)
    undelivered: float = Field(default=0.0, ge=0, le=1)
    lost: float = Field(default=0.0, ge=0, le=1)
    twice: float = Field(default=0.0, ge=0, le=1)
    tries: int = Field(default=1000, ge=1)
    seed: int = 0


class Told(NamedTuple):
    """A text that was taken: what its receipt has to name. `word` is the reference that came with it."""

    kind: str
    reference: str
    to: str
    message_id: str
    word: str = ""
    url: str | None = None


class Receipt(NamedTuple):
    """What is told of a text."""

    told: Told
    arrived: bool
    at_s: float


class Text(BaseModel):
    """A text from a handset, to be passed on to a URL as this kind of API does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    url: str
    sender: str = Field(pattern=r"^\+[0-9]{7,15}$")
    text: str
    to: str = "10690000"
    message_id: str = "inbound-1"


class PushForm(Protocol):
    """How a vendor pushes receipts."""

    most: int

    def request(self, url: str, receipts: Sequence[Receipt]) -> tuple[str, Mapping[str, str], bytes]:
        """The URL, the headers and the body of a POST."""

    def text(self, given: Text) -> tuple[str, Mapping[str, str], bytes]:
        """The same for a text from a handset."""


class Receipts:
    """Tells, in the background; `behaviour` may be replaced at any time and holds for the texts taken from then on."""

    def __init__(self, forms: Mapping[str, PushForm]) -> None:
        self.behaviour = ReceiptBehaviour()
        self._forms = forms
        self._due: asyncio.PriorityQueue[tuple[float, int, Receipt]] = asyncio.PriorityQueue()
        self._number = 0
        self._calls = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()
        self._taken: dict[str, set[bool]] = defaultdict(set)
        self._counts: Counter[str] = Counter()

    def expect(self, told: Told) -> None:
        """Have a text's receipt told."""
        behaviour = self.behaviour
        url = told.url or behaviour.urls.get(told.kind)
        if url is None:
            return
        chance = random.Random(f"{behaviour.seed}:{told.reference}:{told.message_id}")  # noqa: S311 - a run that can be repeated
        if chance.random() < behaviour.lost:
            self._counts["lost"] += 1
            return
        arrived = chance.random() >= behaviour.undelivered
        for _ in range(2 if chance.random() < behaviour.twice else 1):
            due_s = time.time() + behaviour.delay_s + chance.random() * behaviour.shuffled_s
            self._number += 1
            self._due.put_nowait((due_s, self._number, Receipt(told._replace(url=url), arrived, due_s)))

    def told(self) -> Mapping[str, object]:
        """Of the receipts that were taken, by reference: whether the text arrived. And how many wait, or were lost."""
        return {
            "taken": {reference: sorted(each) for reference, each in self._taken.items()},
            "pushes": self._counts["pushes"],
            "refused": self._counts["refused"],
            "lost": self._counts["lost"],
            "waiting": self._due.qsize() + self._counts["under_way"],
        }

    async def pass_on(self, text: Text) -> int:
        """Pass a text on, once; the status of the answer."""
        url, headers, body = self._forms[text.kind].text(text)
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session,
            session.post(URL(url, encoded=True), data=body, headers=headers) as answer,
        ):
            await answer.read()
            return answer.status

    async def run(self) -> None:
        """Tell until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session:
            try:
                while True:
                    for url, kind, receipts in self._ready():
                        self._counts["under_way"] += len(receipts)
                        await self._calls.acquire()
                        task = asyncio.create_task(self._push(session, url, kind, receipts))
                        self._under_way.add(task)
                        task.add_done_callback(self._under_way.discard)
                    await asyncio.sleep(_ROUND_S)
            finally:
                for task in self._under_way:
                    task.cancel()

    def _ready(self) -> list[tuple[str, str, list[Receipt]]]:
        """What is due, in pushes."""
        now_s, found = time.time(), defaultdict[tuple[str, str], list[Receipt]](list)
        while not self._due.empty():
            due_s, number, receipt = self._due.get_nowait()
            if due_s > now_s:
                self._due.put_nowait((due_s, number, receipt))
                break
            found[receipt.told.url or "", receipt.told.kind].append(receipt)
        return [
            (url, kind, receipts[start : start + most])
            for (url, kind), receipts in found.items()
            for most in (self._forms[kind].most,)
            for start in range(0, len(receipts), most)
        ]

    async def _push(self, session: aiohttp.ClientSession, url: str, kind: str, receipts: list[Receipt]) -> None:
        pause_s = _PAUSE_S
        try:
            for _ in range(self.behaviour.tries):
                self._counts["pushes"] += 1
                if await self._is_taken(session, *self._forms[kind].request(url, receipts)):
                    for receipt in receipts:
                        self._taken[receipt.told.reference].add(receipt.arrived)
                    return
                self._counts["refused"] += 1
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._counts["under_way"] -= len(receipts)
            self._calls.release()

    @staticmethod
    async def _is_taken(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], body: bytes) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with session.post(URL(url, encoded=True), data=body, headers=headers) as answer:
                await answer.read()
                return 200 <= answer.status < 300
        return False
