"""Connections are kept and used again, one call at a time on each, and never when something is wrong with them."""

import asyncio

import pytest

from services.sender.transports import HttpAnswer
from services.sender.transports.http1.connection import Connection
from services.sender.transports.http1.connection_pool import IdleConnections
from tests.support.scripted_provider import (
    ACCEPTED,
    Caller,
    Open,
    Peer,
    Script,
    ScriptedProvider,
    accepted,
    always,
    connected,
    open_http1,
    scripted,
)


async def test_calls_one_after_the_other_share_a_connection(opened: Open) -> None:
    async with scripted(always(ACCEPTED)) as provider, opened(provider.url) as caller:
        for _ in range(20):
            assert isinstance(await caller.post(b"{}"), HttpAnswer)
        assert len(provider.peers) == 1


async def test_calls_at_the_same_time_have_a_connection_each(opened: Open) -> None:
    all_asked = asyncio.Barrier(5)

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await all_asked.wait()
        await peer.send(accepted(request.body.decode()))

    async with scripted(script) as provider, opened(provider.url) as caller:
        answers = await asyncio.gather(*(caller.post(b"%d" % number) for number in range(5)))
        assert len(provider.peers) == 5
    assert [answer.body for answer in answers if isinstance(answer, HttpAnswer)] == [
        b'{"message_id":"%d"}' % number for number in range(5)
    ]


async def test_the_connection_used_last_is_used_next() -> None:
    may_answer = [asyncio.Event(), asyncio.Event()]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await may_answer[peer.number].wait()
            await peer.send(accepted(str(peer.number)))

    async with scripted(script) as provider, open_http1(provider.url) as caller:
        calls = [asyncio.create_task(caller.post(b"{}")) for _ in range(2)]
        for number in (1, 0):
            may_answer[number].set()
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            calls = [call for call in calls if not call.done()]
        for _ in range(3):
            answer = await caller.post(b"{}")
            assert isinstance(answer, HttpAnswer)
            assert answer.body == b'{"message_id":"0"}'
        assert len(provider.peers) == 2


async def test_a_connection_that_the_provider_closes_while_idle_is_not_used_again(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ACCEPTED)
        if peer.number == 0:
            peer.writer.write_eof()
        await peer.until_left()

    async with scripted(script) as provider, opened(provider.url) as caller:
        assert isinstance(await caller.post(b"{}"), HttpAnswer)
        await provider.peers[0].was_left()
        assert isinstance(await caller.post(b"{}"), HttpAnswer)
        assert len(provider.peers) == 2


async def test_an_answer_that_nobody_asked_for_ends_an_idle_connection(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(accepted(f"asked {peer.number}"))
        if peer.number == 0:
            await first_answered.wait()
            await peer.send(accepted("unasked"))
            unasked_for.set()
        await peer.until_left()

    first_answered, unasked_for = asyncio.Event(), asyncio.Event()
    async with scripted(script) as provider, opened(provider.url) as caller:
        await caller.post(b"{}")
        first_answered.set()
        await unasked_for.wait()
        await asyncio.sleep(0.1)  # for its way through the sockets: it must be there when the next call looks
        answer = await caller.post(b"{}")
        await provider.peers[0].was_left()
        assert isinstance(answer, HttpAnswer)
        assert answer.body == b'{"message_id":"asked 1"}'


@pytest.mark.parametrize("surplus", [accepted("surplus"), b"HTTP"])
async def test_what_comes_behind_an_answer_is_not_the_next_calls_answer(opened: Open, surplus: bytes) -> None:
    async with scripted(with_surplus(surplus)) as provider, opened(provider.url) as caller:
        await two_calls(provider, caller)


@pytest.mark.parametrize("surplus", [b"garbage", b"\x00"])
async def test_what_is_no_http_behind_an_answer_leaves_the_answer(surplus: bytes) -> None:
    """For aiohttp's client the answer before it is none either: the call is unclear then."""
    async with scripted(with_surplus(surplus)) as provider, open_http1(provider.url) as caller:
        await two_calls(provider, caller)


def with_surplus(surplus: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(accepted(f"asked {peer.number}") + surplus)
        await peer.until_left()

    return script


async def two_calls(provider: ScriptedProvider, caller: Caller) -> None:
    for number in range(2):
        answer = await caller.post(b"{}")
        assert isinstance(answer, HttpAnswer)
        assert answer.body == b'{"message_id":"asked %d"}' % number
        await provider.peers[number].was_left()


async def test_a_connection_grown_old_is_closed() -> None:
    idle = IdleConnections(keepalive_s=0.05)
    async with scripted(always(ACCEPTED)) as provider:
        idle.put(await connected(Connection(idle.discard), provider))
        await provider.peers[0].was_left()
        assert idle.take() is None
        idle.close()


async def test_a_connection_grown_old_is_not_lent() -> None:
    idle = IdleConnections(keepalive_s=0)
    async with scripted(always(ACCEPTED)) as provider:
        idle.put(await connected(Connection(idle.discard), provider))
        assert idle.take() is None
        await provider.peers[0].was_left()
        idle.close()


async def test_a_connection_that_is_closing_is_not_lent() -> None:
    idle = IdleConnections()
    async with scripted(always(ACCEPTED)) as provider:
        connection = await connected(Connection(idle.discard), provider)
        idle.put(connection)
        connection.abort()
        assert idle.take() is None
        idle.close()


async def test_a_connection_that_comes_back_after_closing_is_closed() -> None:
    idle = IdleConnections()
    async with scripted(always(ACCEPTED)) as provider:
        connection = await connected(Connection(idle.discard), provider)
        idle.close()
        idle.put(connection)
        assert not connection.is_open


async def test_a_connection_that_is_in_use_does_not_grow_old() -> None:
    idle = IdleConnections(keepalive_s=0.05)
    async with scripted(always(ACCEPTED)) as provider:
        used, unused = [await connected(Connection(idle.discard), provider) for _ in range(2)]
        idle.put(unused)
        idle.put(used)
        assert idle.take() is used
        await provider.peers[1].was_left()
        assert used.is_open
        idle.close()
        used.abort()


async def test_closing_ends_the_idle_connections() -> None:
    async with scripted(always(ACCEPTED)) as provider, open_http1(provider.url) as caller:
        await asyncio.gather(*(caller.post(b"{}") for _ in range(3)))
        await caller.transport.close()
        for peer in provider.peers:
            await peer.was_left()
        assert isinstance(await caller.post(b"{}"), HttpAnswer)
        assert len(provider.peers) == 4


async def test_a_call_that_ends_after_closing_leaves_no_connection_behind() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await may_answer.wait()
        await peer.send(ACCEPTED)
        await peer.until_left()

    async with scripted(script) as provider, open_http1(provider.url) as caller:
        call = asyncio.create_task(caller.post(b"{}"))
        await asked.wait()
        await caller.transport.close()
        may_answer.set()
        assert isinstance(await call, HttpAnswer)
        await provider.peers[0].was_left()


async def test_hundreds_of_calls_in_flight_get_their_own_answers(opened: Open) -> None:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.send(accepted(request.body.decode()))

    async def calls(poster_number: int) -> list[bool]:
        answers = [await caller.post(b"%d-%d" % (poster_number, number)) for number in range(20)]
        return [
            isinstance(answer, HttpAnswer) and answer.body == b'{"message_id":"%d-%d"}' % (poster_number, number)
            for number, answer in enumerate(answers)
        ]

    async with scripted(script) as provider, opened(provider.url) as caller:
        results = await asyncio.gather(*(calls(number) for number in range(200)))
        assert all(all(result) for result in results)
        assert len(provider.peers) <= 200
