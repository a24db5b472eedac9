"""Seeing to it that the broker has the topology: at the start, on every new connection, and when a queue is missed."""

import asyncio

from shared.amqp.declare import DELETION_TAKES_S, declare_when_reachable
from shared.topology import Topology

_AT_MOST_EVERY_S = 1.0


class Declaring:
    """Declares whenever it is asked to, at most once a second."""

    def __init__(self, amqp_url: str, topology: Topology) -> None:
        self._amqp_url, self._topology = amqp_url, topology
        self._wanted = asyncio.Event()
        self._wanted.set()
        self.is_ready = False
        """The topology was declared once."""

    def declare_again(self) -> None:
        """Have it declared soon; returns at once."""
        self._wanted.set()

    async def run(self) -> None:
        """Declare until cancelled; TopologyMismatch where the broker has something else than what we need."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self.is_ready:
                await asyncio.sleep(DELETION_TAKES_S)
            await declare_when_reachable(self._amqp_url, self._topology)
            self.is_ready = True
            await asyncio.sleep(_AT_MOST_EVERY_S)
