"""What a sender counts of the last minute, and how it says goodbye."""

import asyncio
import time
from collections.abc import Mapping

from services.sender.heartbeat import Heartbeat, LastMinute
from shared.ledger.provider_senders import Activity


class SlowLedger:
    """Is told, and never answers a goodbye."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Activity]] = []
        self.goodbyes = 0

    async def tell(self, _sender: str, activities: Mapping[str, Activity]) -> None:
        self.told.append(activities)

    async def leave(self, _sender: str) -> None:
        self.goodbyes += 1
        await asyncio.Event().wait()


def test_what_is_older_than_a_minute_counts_no_more() -> None:
    now = [1000.0]
    minute = LastMinute(lambda: now[0])
    minute.add(5, 1)
    now[0] += 0.5
    minute.add(2, 0)
    now[0] += 30
    minute.add(10, 0)
    assert minute.sums() == (17, 1)
    now[0] += 30
    assert minute.sums() == (10, 0)
    now[0] += 60
    assert minute.sums() == (0, 0)


async def test_a_ledger_that_does_not_answer_holds_up_no_goodbye() -> None:
    ledger, activities = SlowLedger(), {"one": Activity(1, 2, 3)}
    heartbeat = Heartbeat(ledger, "me", lambda: activities)
    telling = asyncio.create_task(heartbeat.run())
    await asyncio.sleep(0)
    telling.cancel()
    begun_s = time.monotonic()
    await heartbeat.leave()
    assert time.monotonic() - begun_s < 5
    assert (ledger.told, ledger.goodbyes) == ([activities], 1)


async def test_who_never_said_anything_says_no_goodbye() -> None:
    ledger = SlowLedger()
    await Heartbeat(ledger, "me", dict).leave()
    assert ledger.goodbyes == 0
