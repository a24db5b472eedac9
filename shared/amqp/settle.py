"""The one place that settles deliveries: publish what is to follow, await the confirms, only then ack."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.crash_points import crash_at
from shared.domain.outgoing import Outgoing

_CONFIRM_TIMEOUT_S = 30
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0

log = structlog.get_logger()


class Settlement(NamedTuple):
    """A delivery that is done with, and the message that has to be safe elsewhere before it is acked."""

    delivery: Delivery
    follow_up: Outgoing | None = None


async def settle(settlements: Sequence[Settlement], publisher: Publisher) -> None:
    """Ack every delivery whose follow-up is confirmed, trying for as long as it takes.

    While the broker takes no follow-ups (an alarm, a full queue) the deliveries stay unacked, so nothing is lost.
    Cancelled, it leaves the rest unacked: the broker delivers them again.
    """
    waiting = _ack_those_without_follow_up(settlements)
    pause_s = _FIRST_PAUSE_S
    while waiting:
        follow_ups = [settlement.follow_up for settlement in waiting if settlement.follow_up]
        failed = await publisher.publish_all(follow_ups, _CONFIRM_TIMEOUT_S)
        crash_at("settle.confirmed")
        for position, settlement in enumerate(waiting):
            if position not in failed:
                settlement.delivery.ack()
        waiting = [waiting[position] for position in sorted(failed)]
        if failed:
            log.warning("follow_up_not_confirmed", messages=len(failed), reason=str(next(iter(failed.values()))))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _ack_those_without_follow_up(settlements: Sequence[Settlement]) -> list[Settlement]:
    for settlement in settlements:
        if settlement.follow_up is None:
            settlement.delivery.ack()
    return [settlement for settlement in settlements if settlement.follow_up is not None]
