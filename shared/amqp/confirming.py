"""One publish per request, each awaited until its confirm: aio-pika, for the api."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError
from aio_pika.exceptions import PublishError as Returned

from shared.amqp.link import HEARTBEAT_S
from shared.amqp.nodes import CONNECT_TIMEOUT_S, Nodes
from shared.amqp.reconnecting import describe, first_to_answer, keep_connected
from shared.domain.outgoing import Outgoing
from shared.errors import Rejected, Unconfirmed, Unroutable

_CHANNELS = 8
_OPEN_TIMEOUT_S = 10
_LOST = (AMQPError, OSError, RuntimeError, TimeoutError, StopAsyncIteration)
"""What aio-pika raises when a connection or channel is gone; some of it is no AMQPError. StopAsyncIteration comes from
aiormq when the peer closes right after the TCP connect, as a port does whose broker is still starting."""

log = structlog.get_logger()


class ConfirmingPublisher:
    """Publishes mandatory and persistent, on a few channels in turn, one message at a time on each.

    The plain connection and a loop of our own instead of the robust one, which makes a publish wait for the reconnect
    (aio-pika#556, #636) and loops on a declaration that the broker refuses (#565). `on_connected` hears of every new
    connection: the broker behind it may have lost its queues.
    """

    def __init__(self, urls: str, name: str, app_id: str, on_connected: Callable[[], None]) -> None:
        self._nodes = Nodes(urls)
        self._name, self._app_id, self._on_connected = name, app_id, on_connected
        self._session: _Session | None = None

    @property
    def is_ready(self) -> bool:
        """Connected, with every channel open."""
        return self._session is not None

    async def run(self) -> None:
        """Connect, and again after every loss with growing pauses, until cancelled."""
        await keep_connected(self._nodes, self._name, self._one_connection, _LOST, at_once=True)

    async def publish(self, outgoing: Outgoing, timeout_s: float) -> None:
        """Return when the broker has confirmed the message.

        Unroutable and Rejected: it is in no queue. Unconfirmed, at the latest after `timeout_s`: it may be.
        """
        session = self._session
        if session is None:
            raise Unconfirmed("there is no connection to the broker")
        channel: AbstractChannel | None = None
        try:
            async with asyncio.timeout(timeout_s), session.a_channel() as channel:
                await session.publish(channel, outgoing, self._app_id)
        except Returned:
            raise Unroutable(f"no queue is bound to {outgoing.exchange} for {outgoing.routing_key}") from None
        except DeliveryError:
            raise Rejected(f"the broker refused a message to {outgoing.exchange}") from None
        except TimeoutError:
            # A frozen broker is found out here, long before three missed heartbeats. Under an alarm a new connection
            # would only have to learn again that it is blocked.
            if channel is not None and not await session.is_blocked():
                session.give_up()
            raise Unconfirmed(f"no confirm within {timeout_s:g} s") from None
        except _LOST as error:
            raise Unconfirmed(describe(error)) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # aiormq cancels the confirmations of a channel that goes; nobody has cancelled this task.
            raise Unconfirmed("the channel was closed before the confirm") from None

    async def _one_connection(self) -> None:
        """Hold one connection from its opening to its loss."""
        connection = await first_to_answer(self._nodes, self._name, self._connect, _LOST)
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_S):
                session = await _open_session(connection)
            self._session = session
            self._on_connected()
            await session.lost()
            log.warning("broker_connection_lost", connection=self._name, node=self._nodes.last)
        finally:
            self._session = None
            await _close(connection)

    async def _connect(self, url: str) -> AbstractConnection:
        return await aio_pika.connect(
            url,
            timeout=CONNECT_TIMEOUT_S,
            heartbeat=HEARTBEAT_S,
            client_properties={"connection_name": self._name},
        )


class _Session:
    """One connection's channels; the loss of any of them ends it, as a connection with fewer is of little use."""

    def __init__(self, connection: AbstractConnection, channels: Sequence[AbstractChannel]) -> None:
        self._connection, self._channels = connection, channels
        self._idle: asyncio.Queue[AbstractChannel] = asyncio.Queue()
        for channel in channels:
            self._idle.put_nowait(channel)
        self._given_up = asyncio.Event()

    async def publish(self, channel: AbstractChannel, outgoing: Outgoing, app_id: str) -> None:
        if await self.is_blocked():
            # It would wait inside this process, and be sent when nobody expects it any more.
            raise Unconfirmed("the broker takes no messages at the moment (memory or disk alarm)")
        exchange = await channel.get_exchange(outgoing.exchange, ensure=False)
        await exchange.publish(_message(outgoing, app_id), outgoing.routing_key, mandatory=True)

    async def is_blocked(self) -> bool:
        """Whether the broker has said that it takes nothing from this connection (connection.blocked)."""
        transport = self._connection.transport
        try:
            async with asyncio.timeout(0):
                if transport is not None:
                    await transport.ready()
        except TimeoutError:
            return True
        return False

    def give_up(self) -> None:
        """Have the connection closed and another one opened."""
        self._given_up.set()

    async def lost(self) -> None:
        """Return when the connection or a channel is gone, or was given up."""
        ends = [self._connection.closed(), *(channel.closed() for channel in self._channels), self._given_up.wait()]
        waiting = [asyncio.ensure_future(end) for end in ends]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in waiting:
                future.cancel()

    @asynccontextmanager
    async def a_channel(self) -> AsyncIterator[AbstractChannel]:
        # One at a time: two messages with one id in flight on one channel confuse each other's fate (aio-pika#689).
        channel = await self._idle.get()
        try:
            yield channel
        finally:
            self._idle.put_nowait(channel)


async def _open_session(connection: AbstractConnection) -> _Session:
    channels = [await connection.channel(publisher_confirms=True, on_return_raises=True) for _ in range(_CHANNELS)]
    return _Session(connection, channels)


async def _close(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(1):
            await connection.close()
    except _LOST as error:
        log.debug("broker_connection_not_closed_in_order", reason=describe(error))


def _message(outgoing: Outgoing, app_id: str) -> aio_pika.Message:
    return aio_pika.Message(
        outgoing.body,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        type=outgoing.type,
        message_id=outgoing.message_id,
        correlation_id=outgoing.correlation_id,
        app_id=app_id,
        timestamp=datetime.fromtimestamp(outgoing.timestamp_s, UTC),
        headers=dict(outgoing.headers),
        expiration=None if outgoing.expiration_ms is None else outgoing.expiration_ms / 1000,
    )
