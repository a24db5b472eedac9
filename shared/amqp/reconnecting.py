"""Connecting to one of the nodes, and again after every loss: the same for pika's connections and for aio-pika's."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from shared.amqp.nodes import Nodes

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_SETTLED_S = 10

Errors = tuple[type[Exception], ...]
Connected = TypeVar("Connected")

log = structlog.get_logger()


async def first_to_answer(
    nodes: Nodes, name: str, connect: Callable[[str], Awaitable[Connected]], unreachable: Errors
) -> Connected:
    """What `connect` makes of the first node's URL that takes it; the last node's error where none does."""
    *others, last = nodes.round()
    for url in others:
        try:
            return await connect(nodes.trying(url))
        except unreachable as error:
            log.warning("node_passed_over", connection=name, node=nodes.last, reason=describe(error))
    return await connect(nodes.trying(last))


async def keep_connected(
    nodes: Nodes,
    name: str,
    one_connection: Callable[[], Awaitable[None]],
    unreachable: Errors,
    is_over: Callable[[], bool] = lambda: False,
    *,
    at_once: bool = False,
) -> None:
    """Hold one connection after the other, each from its opening to its loss, with growing pauses between them.

    They begin anew after a connection that lasted; with `at_once` after each that there was.
    """
    pause_s = _FIRST_PAUSE_S
    while not is_over():
        began_at_s, there_was_one = time.monotonic(), False
        try:
            await one_connection()
            there_was_one = True
        except unreachable as error:
            log.warning("broker_unreachable", connection=name, node=nodes.last, reason=describe(error))
        if time.monotonic() - began_at_s > _SETTLED_S or (at_once and there_was_one):
            pause_s = _FIRST_PAUSE_S
        if not is_over():
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads reconnects
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def describe(error: BaseException) -> str:
    """A client's error as a line; many of pika's exceptions print as nothing."""
    nested = getattr(error, "exceptions", None) or getattr(error, "exception", None)
    return str(error) or (repr(nested) if nested else type(error).__name__)
