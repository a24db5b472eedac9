"""A TCP proxy that cuts connections, and loses or delays one direction of them, as networks do."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeVar

_CHUNK_BYTES = 64 * 1024
_LOOK_S = 0.02

Result = TypeVar("Result")


class Direction(StrEnum):
    """Which way bytes go."""

    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"


class Proxy:
    """Passes bytes between its own port on 127.0.0.1 and a server; every fault holds until `heal`."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.StreamWriter] = set()
        self._pairs: set[asyncio.Task[None]] = set()
        self._swallowed: set[Direction] = set()
        self._delays_s: dict[Direction, float] = {}
        self._refusing = False
        self.port = 0

    def cut(self) -> int:
        """Reset every connection; new ones may come at once. How many were there."""
        return self._in_loop(self._reset())

    def refuse(self) -> None:
        """Reset every connection, and each new one as soon as it comes."""
        self._refusing = True
        self.cut()

    def swallow(self, *directions: Direction) -> None:
        """Lose what goes these ways, on connections that stay open: nobody is told."""
        self._swallowed = set(directions)

    def delay(self, delay_s: float, direction: Direction) -> None:
        """Hold what goes this way for so long, one piece of at most 64 KiB after the other."""
        self._delays_s[direction] = delay_s

    def heal(self) -> None:
        """Pass everything on again. What was swallowed on a connection breaks its protocol: those are reset."""
        if self._swallowed:
            self.cut()
        self._swallowed, self._delays_s, self._refusing = set(), {}, False

    def _in_loop(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = asyncio.current_task()
        assert pair is not None
        self._pairs.add(pair)
        try:
            await self._pass_on(reader, writer)
        except OSError:
            pass  # reset by one side, or by `cut`
        finally:
            self._pairs.discard(pair)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            return
        from_server, to_server = await asyncio.open_connection(*self._server)
        both = {writer, to_server}
        self._connections |= both
        try:
            ways = (
                asyncio.ensure_future(self._pump(reader, to_server, Direction.TO_SERVER)),
                asyncio.ensure_future(self._pump(from_server, writer, Direction.TO_CLIENT)),
            )
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._connections -= both
            to_server.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Direction) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            await asyncio.sleep(self._delays_s.get(way, 0))
            if way not in self._swallowed:
                writer.write(chunk)
                await writer.drain()

    async def _reset(self) -> int:
        pairs = len(self._pairs)
        for writer in list(self._connections):
            writer.transport.abort()
        while self._connections:
            await asyncio.sleep(_LOOK_S)
        return pairs

    async def _end(self, server: asyncio.Server) -> None:
        server.close()
        await self._reset()


@contextmanager
def proxy(host: str, port: int) -> Iterator[Proxy]:
    """A proxy before a server, in a thread of its own."""
    through = Proxy(host, port)
    thread = threading.Thread(target=through._loop.run_forever, name="proxy", daemon=True)
    thread.start()
    server = through._in_loop(through._listen())
    try:
        yield through
    finally:
        through._in_loop(through._end(server))
        through._loop.call_soon_threadsafe(through._loop.stop)
        thread.join()
        through._loop.close()
