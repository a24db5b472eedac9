"""A queue whose arguments differ becomes one with the right ones, by way of a second queue; nothing is lost.

However it is interrupted, the broker shows how far it came: the same call goes on from there.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from shared.crash_points import crash_at
from shared.topology import BATCHES, DEAD_LETTER_BATCHES_QUEUE, PEEK_LIMIT, Binding, Queue, Topology
from tools.ctl.doctoring.management import BindingThere, Management
from tools.ctl.doctoring.session import Move, Place, Session, session
from tools.ctl.errors import CtlError

_PREFETCH, _PREFETCH_OF_BATCHES = 500, 8  # a batch may have 15 MiB
_STATISTICS_LAG_S, _STATISTICS_TIMEOUT_S = 11, 60
"""The management API's counts are up to two times five seconds old."""
_TURNS = 5


@dataclass(frozen=True)
class Step:
    """A queue's messages and bindings on their way to another."""

    source: str
    target: str
    wanted: tuple[Binding, ...]


def temporary(queue: Queue) -> Queue:
    """Where a queue's messages are while it is made anew: no limit, and no TTL but the messages' own.

    What expires by a TTL of its own goes where it would go from the queue itself.
    """
    kept = {name: value for name, value in queue.arguments.items() if name in _KEPT}
    # Without any limit of ours RabbitMQ 4 has one of 20.
    return Queue(f"{queue.name}.migrating", {**kept, "x-delivery-limit": PEEK_LIMIT})


_KEPT = frozenset(
    {"x-queue-type", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-overflow"}
)


def place_in(bound: Iterable[Place], otherwise: Place) -> Callable[[Place], Place]:
    """Where a message is published so that it reaches the bound queue: where it was published first, if that leads
    there. A tier's messages find their way out by the routing key that they came with."""
    places = frozenset(bound)
    return lambda place: place if place in places else otherwise


def migrate(urls: str, management: Management, topology: Topology, queue: Queue, *, differs: bool) -> int:
    """Give the queue the arguments that it should have, or finish what was begun; how many messages it then was given.

    CtlError where it cannot be done: the messages are then in the queue, in the temporary one, or in both.
    """
    return asyncio.run(_migrate(urls, management, topology, queue, differs=differs))


async def _migrate(urls: str, management: Management, topology: Topology, queue: Queue, *, differs: bool) -> int:
    wanted = tuple(binding for binding in topology.bindings if binding.queue == queue.name)
    between = temporary(queue)
    async with session(urls) as opened:
        if differs:
            await _refuse_what_is_in_use(opened, management, queue.name)
            await opened.declare(between.name, between.arguments)
            await _hand_over(opened, management, Step(queue.name, between.name, wanted))
        await opened.declare(queue.name, queue.arguments)
        return await _hand_over(opened, management, Step(between.name, queue.name, wanted))


async def _refuse_what_is_in_use(opened: Session, management: Management, queue: str) -> None:
    if consumers := (await opened.counts(queue)).consumers:
        raise CtlError(f"{queue} is in use: it has {consumers} consumers, or others who hold messages of it")
    kind = (await asyncio.to_thread(management.queue, queue)).type
    if kind not in ("quorum", "classic"):
        raise CtlError(f"{queue} is a {kind} queue, whose messages cannot be taken out")


async def _hand_over(opened: Session, management: Management, step: Step) -> int:
    """Everything of the source becomes the target's, and the source is deleted; how many messages it held."""
    bound = await _rebind(opened, management, step)
    crash_at("doctor.bound")
    first = step.wanted[0]
    large = step.wanted[0].queue in (BATCHES, DEAD_LETTER_BATCHES_QUEUE)
    place = place_in(bound, (first.exchange, first.key))
    move = Move(opened, step.source, place, _PREFETCH_OF_BATCHES if large else _PREFETCH)
    await move.begin()
    await move.until_empty()
    if await _may_hide_messages(management, step.source):
        await _nothing_left_by_count(management, step.source)
        await move.until_empty()
    crash_at("doctor.emptied")
    await opened.delete(step.source)
    crash_at("doctor.deleted")
    return move.moved


async def _rebind(opened: Session, management: Management, step: Step) -> set[Place]:
    """Bind the target to all that the source is bound to, and then the source to nothing."""
    places = set()
    for binding in step.wanted:
        await opened.call(opened.channel.queue_bind, step.target, binding.exchange, binding.key)
        places.add((binding.exchange, binding.key))
    for _ in range(_TURNS):
        there = await asyncio.to_thread(management.bindings, step.source)
        if not there:
            return places
        for each in there:
            await opened.call(opened.channel.queue_bind, step.target, *_as_arguments(each))
        for each in there:
            await opened.call(opened.channel.queue_unbind, step.source, *_as_arguments(each))
        places |= {(each.source, each.routing_key) for each in there}
    raise CtlError(f"somebody binds {step.source} again and again")


def _as_arguments(binding: BindingThere) -> tuple[str, str, dict[str, Any] | None]:
    return binding.source, binding.routing_key, binding.arguments or None


async def _may_hide_messages(management: Management, queue: str) -> bool:
    """Whether there may be messages that AMQP does not count: what the broker itself is moving to the dead-letter
    exchange, and what others hold of a classic queue."""
    there = await asyncio.to_thread(management.queue, queue)
    return there.type != "quorum" or there.dead_letters


async def _nothing_left_by_count(management: Management, queue: str) -> None:
    """Wait until the management API counts nothing in an emptied queue."""
    await asyncio.sleep(_STATISTICS_LAG_S)
    deadline_s = asyncio.get_running_loop().time() + _STATISTICS_TIMEOUT_S
    while (there := await asyncio.to_thread(management.queue, queue)).messages != 0:
        if asyncio.get_running_loop().time() > deadline_s:
            what = f"{there.messages} messages of {queue} are held by somebody, or cannot be moved on by the broker"
            raise CtlError(f"{what} (its dead-letter exchange is missing, or the queue behind is full)")
        await asyncio.sleep(1)
