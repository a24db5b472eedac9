"""A reload's new gateways take the place of those before, which are closed when their calls have ended."""

import asyncio

from services.sender.open_gateways import OpenGateways


class Played:
    """Remembers what is done to it."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.closed = asyncio.Event()

    async def open(self) -> None:
        self.did.append("open")

    async def close(self) -> None:
        self.did.append("close")
        self.closed.set()


async def test_what_is_replaced_is_closed_after_its_calls_and_once() -> None:
    first, second, other = Played(), Played(), Played()
    gateways = OpenGateways({"one": first, "two": other})  # type: ignore[dict-item]
    await gateways.open()
    await gateways.replace("one", second, calls_end_within_s=0.01)  # type: ignore[arg-type]
    assert (first.did, second.did) == (["open"], ["open"])
    await asyncio.wait_for(first.closed.wait(), 10)
    await gateways.close()
    assert first.did == second.did == other.did == ["open", "close"]


async def test_a_sender_that_ends_waits_for_no_call_of_what_was_replaced() -> None:
    first, second = Played(), Played()
    gateways = OpenGateways({"one": first})  # type: ignore[dict-item]
    await gateways.replace("one", second, calls_end_within_s=3600)  # type: ignore[arg-type]
    await gateways.close()
    assert (first.did, second.did) == (["close"], ["open", "close"])
