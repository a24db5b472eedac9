"""The broker's nodes: one URL, or those of a cluster, and in which order they are tried."""

import random
from collections.abc import Iterator
from itertools import cycle, islice

CONNECT_TIMEOUT_S = 5
"""How long a node that does not answer holds up a connection, before the next node is tried."""


def split_urls(urls: str) -> tuple[str, ...]:
    """The URLs of a list separated by commas; a comma in a password is percent-encoded."""
    return tuple(url.strip() for url in urls.split(","))


class Nodes:
    """One connection's way through the nodes, in an order of its own, so that the connections spread over them.

    `urls` is as SMS_AMQP_URL has it.
    """

    def __init__(self, urls: str) -> None:
        each = split_urls(urls)
        self._count = len(each)
        self._turns = cycle(random.sample(each, self._count))

    def round(self) -> Iterator[str]:
        """Every node once, beginning after the one that was tried last: what has failed comes last."""
        return islice(self._turns, self._count)
