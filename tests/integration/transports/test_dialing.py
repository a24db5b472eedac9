"""Names are looked up once for many connections and not for ever, and every address of a name is tried."""

import asyncio
import socket
from collections.abc import Sequence

import pytest
from aiohappyeyeballs import AddrInfoType

from services.sender.transports import HttpAnswer
from services.sender.transports.http1.connection import Connection
from services.sender.transports.http1.dialing import Dialer
from services.sender.transports.http1.resolver import KnownAddresses
from tests.support.scripted_provider import ACCEPTED, Open, always, call_over, port_of, scripted


class Names:
    """Stands in for the system's resolver; `addresses` may be an error, `may_answer` holds it back."""

    def __init__(self, addresses: Sequence[tuple[str, int]] | OSError) -> None:
        self.addresses = addresses
        self.lookups = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, host: str, port: int) -> Sequence[AddrInfoType]:
        self.lookups += 1
        await self.may_answer.wait()
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.addresses]


async def test_connections_made_at_once_share_one_look_up() -> None:
    async with scripted(always(ACCEPTED)) as provider:
        names = Names([("127.0.0.1", port_of(provider))])
        await _dialed(_dialer(names), 20)
        assert names.lookups == 1
        assert len(provider.peers) == 20


async def test_a_name_is_looked_up_again_when_its_addresses_grew_old() -> None:
    async with scripted(always(ACCEPTED)) as provider:
        names = Names([("127.0.0.1", port_of(provider))])
        dialer = _dialer(names, addresses_good_for_s=0)
        for _ in range(3):
            await _dialed(dialer)
        assert names.lookups == 3


async def test_a_name_is_looked_up_again_after_a_failure_to_look_it_up() -> None:
    async with scripted(always(ACCEPTED)) as provider:
        names = Names(socket.gaierror("no such name"))
        dialer = _dialer(names)
        with pytest.raises(socket.gaierror):
            await _dialed(dialer)
        names.addresses = [("127.0.0.1", port_of(provider))]
        await _dialed(dialer)


async def test_a_name_is_looked_up_again_after_a_failure_to_connect() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with scripted(always(ACCEPTED)) as provider:
            names = Names([held.getsockname()])
            dialer = _dialer(names)
            with pytest.raises(ConnectionRefusedError):
                await _dialed(dialer)
            names.addresses = [("127.0.0.1", port_of(provider))]
            await _dialed(dialer)


async def test_an_address_that_refuses_leaves_the_next_one() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with scripted(always(ACCEPTED)) as provider:
            dialer = _dialer(Names([held.getsockname(), ("127.0.0.1", port_of(provider))]))
            await _dialed(dialer, 2)
            assert len(provider.peers) == 2


async def test_the_addresses_of_a_name_are_used_in_turn() -> None:
    async with scripted(always(ACCEPTED)) as one, scripted(always(ACCEPTED)) as other:
        dialer = _dialer(Names([("127.0.0.1", port_of(one)), ("127.0.0.1", port_of(other))]))
        await _dialed(dialer, 10)
        assert (len(one.peers), len(other.peers)) == (5, 5)


async def test_one_caller_that_gives_up_leaves_the_look_up_to_the_others() -> None:
    async with scripted(always(ACCEPTED)) as provider:
        names = Names([("127.0.0.1", port_of(provider))])
        names.may_answer.clear()
        dialer = _dialer(names)
        impatient, patient = [asyncio.create_task(_dialed(dialer)) for _ in range(2)]
        while names.lookups == 0:
            await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        names.may_answer.set()
        await patient
        assert names.lookups == 1


async def _dialed(dialer: Dialer, times: int = 1) -> None:
    connections = [Connection(lambda _: None) for _ in range(times)]
    await asyncio.gather(*(dialer.dial(connection) for connection in connections))
    for connection in connections:
        assert isinstance(await call_over(connection), HttpAnswer)
        connection.abort()


def _dialer(names: Names, addresses_good_for_s: float = 60) -> Dialer:
    return Dialer("provider.example", KnownAddresses("provider.example", 80, names, addresses_good_for_s), None)


async def test_a_hundred_calls_at_once_are_all_made(opened: Open) -> None:
    async with scripted(always(ACCEPTED)) as provider, opened(provider.url) as caller:
        results = await asyncio.gather(*(caller.post(b"{}") for _ in range(100)))
        assert {type(result) for result in results} == {HttpAnswer}
