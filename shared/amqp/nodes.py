"""The broker's nodes: one URL, or those of a cluster, and in which order they are tried."""

import random
from collections.abc import Iterator
from itertools import cycle, islice

from shared import places

CONNECT_TIMEOUT_S = 5
"""How long a node that does not answer holds up a connection, before the next node is tried."""


def split_urls(urls: str) -> tuple[str, ...]:
    """The URLs of a list separated by commas; a comma in a password is percent-encoded."""
    return tuple(url.strip() for url in urls.split(","))


def place(url: str) -> str:
    """A node's host and port, without user and password."""
    return places.place(url, 5671 if url.startswith("amqps:") else 5672)


class Nodes:
    """One connection's way through the nodes, in an order of its own, so that the connections spread over them.

    `urls` is as SMS_AMQP_URL has it.
    """

    def __init__(self, urls: str) -> None:
        each = split_urls(urls)
        self._count = len(each)
        self._turns = cycle(random.sample(each, self._count))
        self.last = ""
        """Host and port of the node that was tried last."""

    def round(self) -> Iterator[str]:
        """Every node once, beginning after the one that was tried last: what has failed comes last."""
        return islice(self._turns, self._count)

    def trying(self, url: str) -> str:
        """The URL, which is tried now: `last` names it from here on."""
        self.last = place(url)
        return url
