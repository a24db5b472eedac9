"""What moves through a sender's stages.

What is made for every number is a tuple: a frozen dataclass takes several times as long.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.amqp.messages import Delivery
from shared.domain.message import Key, MessageRow
from shared.domain.outcome import Outcome, RetryPolicy
from shared.domain.stale import StaleDecision
from shared.messages import OutboundMessage


class Turn(NamedTuple):
    """A delivery with the message in it."""

    delivery: Delivery
    message: OutboundMessage

    @property
    def key(self) -> Key:
        return self.message.batch_id, self.message.row


class Claimed(NamedTuple):
    """A turn whose row this sender holds; `row.attempt` counts the attempt that begins."""

    turn: Turn
    row: MessageRow

    def is_late(self, now_ms: int) -> bool:
        """Whether the number must not be sent any more."""
        return self.row.expires_at_ms is not None and self.row.expires_at_ms <= now_ms


class Done(NamedTuple):
    """A number with what came of its attempt."""

    claimed: Claimed
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Ended:
    """All numbers of one call; `settled` is set when their outcomes are recorded and their deliveries acked.

    They stay together: with a hundred numbers in a call, a task and a future for each would cost more than the call.
    """

    done: Sequence[Done]
    settled: asyncio.Future[None]


Plan = tuple[Turn, MessageRow | None, StaleDecision]


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides on retries and holds."""

    policy: RetryPolicy
    lease_ms: int
    call_within_ms: int
    """How long after its claim a number may be called: call and record then end before the lease does."""
    provider_deduplicates: bool
    longest_hold_s: float
    """How long deliveries are held for a provider that is down, before the broker keeps them for later."""
    concurrency: int | None = None
    """How many calls may be under way; None for as many as there are deliveries."""
    hands_back: bool = False
    """There are other providers: what waits for one that is stopped goes back to the dispatcher instead."""

    def may_resend(self, row: MessageRow) -> bool:
        """Whether a number may be called again although an earlier call may have been sent."""
        return row.may_resend or self.provider_deduplicates

    def was_unclear(self, row: MessageRow) -> bool:
        """Whether an earlier call may have been sent, so that no later failure proves the opposite."""
        return row.was_unclear and not self.provider_deduplicates


def first_of_each(turns: Sequence[Turn]) -> tuple[dict[Key, Turn], list[Turn]]:
    """The turns by row, and the further copies of the same row."""
    first: dict[Key, Turn] = {}
    copies = []
    for turn in turns:
        if first.setdefault(turn.key, turn) is not turn:
            copies.append(turn)
    return first, copies


def in_parts(ended: Iterable[Ended], most: int) -> Iterator[Sequence[Ended]]:
    """Whole calls together, up to so many numbers; a call with more is a part of its own."""
    part: list[Ended] = []
    numbers = 0
    for call in ended:
        if part and numbers + len(call.done) > most:
            yield part
            part, numbers = [], 0
        part.append(call)
        numbers += len(call.done)
    if part:
        yield part
