"""One pika connection with one channel, opened again whenever it is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pika
import structlog
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.channel import Channel

from shared.amqp.nodes import CONNECT_TIMEOUT_S, Nodes
from shared.amqp.pika_internals import Connection
from shared.amqp.reconnecting import describe, first_to_answer, keep_connected

HEARTBEAT_S = 10
_CHANNEL_TIMEOUT_S, _CLOSE_TIMEOUT_S = 10, 2

UNREACHABLE = (pika.exceptions.AMQPError, AMQPConnectorException, OSError, TimeoutError)
"""What pika raises when there is no connection: a broker that takes it and then says nothing is no AMQPError."""

log = structlog.get_logger()

OnUp = Callable[[Channel], Awaitable[None]]
OnDown = Callable[[], None]


def parameters(urls: str, name: str) -> list[pika.URLParameters]:
    """pika's parameters for each node, in random order."""
    return [_parameters(url, name) for url in Nodes(urls).round()]


def _parameters(url: str, name: str) -> pika.URLParameters:
    # The heartbeat finds a dead peer in half a minute.
    result = pika.URLParameters(url)
    result.heartbeat = HEARTBEAT_S
    result.socket_timeout = result.stack_timeout = CONNECT_TIMEOUT_S
    result.client_properties = {"connection_name": name}
    return result


class Link:
    """Keeps a channel open to one of the nodes; `on_up` prepares each new one, `on_down` hears that it is gone.

    `run` returns only after `close`, and raises what `on_up` raises, except for the loss of the connection. Publishing
    and consuming use a link each: an alarm blocks the connections that publish, and must not keep acks from passing.
    """

    def __init__(self, urls: str, name: str, on_up: OnUp, on_down: OnDown) -> None:
        self._nodes = Nodes(urls)
        self._name, self._on_up, self._on_down = name, on_up, on_down
        self._connection: AsyncioConnection | None = None
        self._closing = False
        self._answers: set[asyncio.Future[Any]] = set()
        self._closed: asyncio.Future[BaseException] | None = None
        self.is_up = False

    def answer(self) -> asyncio.Future[Any]:
        """A future for one answer of the broker; it fails with the connection's loss."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        return answer

    async def run(self) -> None:
        """Connect, and connect again after every loss, with growing pauses."""
        await keep_connected(self._nodes, self._name, self._one_connection, UNREACHABLE, lambda: self._closing)

    def give_up(self, reason: str) -> None:
        """Take the connection for lost, and open another one; what the old one still says is nobody's any more."""
        if self._closed is not None:
            resolve(self._closed, ConnectionError(reason))

    async def close(self) -> None:
        """Close the connection, with a moment for the broker's answer; `run` then returns."""
        self._closing = True
        if self._connection is not None:
            await close_connection(self._connection)

    async def _one_connection(self) -> None:
        """Hold one connection from its opening to its loss."""
        connection, closed = await open_connection(self._nodes, self._name)
        self._connection, self._closed = connection, closed
        closed.add_done_callback(self._fail_answers)
        try:
            channel = await open_channel(connection, closed)
            await self._on_up(channel)
            self.is_up = True
            reason = await closed
        finally:
            self._connection = self._closed = None
            self.is_up = False
            self._on_down()
            if connection.is_open:
                connection.close()
        if not self._closing:
            log.warning("broker_connection_lost", connection=self._name, node=self._nodes.last, reason=describe(reason))

    def _fail_answers(self, closed: asyncio.Future[BaseException]) -> None:
        reason = ConnectionError("the connection was given up") if closed.cancelled() else closed.result()
        for answer in list(self._answers):
            _set_exception(answer, reason)


def resolve(answer: asyncio.Future[Any], result: Any = None) -> None:
    """Set a future's result where nothing has settled it before."""
    if not answer.done():
        answer.set_result(result)


async def open_connection(nodes: Nodes, name: str) -> tuple[AsyncioConnection, asyncio.Future[BaseException]]:
    """A connection to the first node that takes one, and its loss to come.

    What the last node said, one of `UNREACHABLE`, where none does.
    """
    return await first_to_answer(nodes, name, lambda url: _open(_parameters(url, name)), UNREACHABLE)


async def _open(node: pika.URLParameters) -> tuple[AsyncioConnection, asyncio.Future[BaseException]]:
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[AsyncioConnection] = loop.create_future()
    closed: asyncio.Future[BaseException] = loop.create_future()

    def fail(_connection: Any, error: Any) -> None:
        _set_exception(opened, error if isinstance(error, BaseException) else ConnectionError(str(error)))

    def close(_connection: Any, error: BaseException) -> None:
        _set_exception(opened, error)
        resolve(closed, error)

    Connection(
        node,
        on_open_callback=lambda connection: resolve(opened, connection),
        on_open_error_callback=fail,
        on_close_callback=close,
        custom_ioloop=loop,
    )
    return await opened, closed


async def open_channel(connection: AsyncioConnection, closed: asyncio.Future[BaseException]) -> Channel:
    """A channel whose loss, too, is the loss of its connection."""
    opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
    channel = connection.channel(on_open_callback=lambda channel: resolve(opened, channel))

    def lost(_channel: Channel, reason: BaseException) -> None:
        # A channel that the broker closed is of no use, and neither is its connection without one: start over.
        _set_exception(opened, reason)
        resolve(closed, reason)
        if connection.is_open:
            connection.close()

    channel.add_on_close_callback(lost)
    await asyncio.wait([opened, closed], timeout=_CHANNEL_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    if opened.done():
        return await opened
    raise closed.result() if closed.done() else TimeoutError(f"no channel within {_CHANNEL_TIMEOUT_S} s")


async def close_connection(connection: AsyncioConnection) -> None:
    """Close it, with a moment for the broker's answer."""
    if connection.is_closed:
        return
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    connection.add_on_close_callback(lambda *_: resolve(gone))
    if connection.is_open:
        connection.close()
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await gone
    except TimeoutError:
        log.warning("broker_did_not_answer_close")


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
