"""Every exchange, queue and binding of the system, as values without I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

BATCHES = "sms.batches"
OUTBOUND = "sms.outbound"
RETRY = "sms.retry"
DEAD_LETTER = "sms.dead-letter"
RECEIPTS = "sms.receipts"

DEFAULT_PROVIDER = "default"
"""The provider that there is where none is named."""

DEAD_LETTER_BATCHES_QUEUE = "sms.dead-letter.batches"
UNKNOWN_QUEUE = "sms.unknown"
INBOUND_QUEUE = "sms.inbound"
RECEIPTS_LATER_QUEUE = "sms.receipts.later"
"""Receipts of attempts that are not recorded yet: they come again from there."""
UNMATCHED_QUEUE = "sms.receipts.unmatched"
"""Receipts of texts that the ledger does not know."""
RECEIPTS_AGAIN_MS = 2000

DEAD_LETTER_TTL_MS = 7 * 24 * 3600 * 1000
CRASH_LIMIT = 20
"""Redeliveries after which the broker takes a message away from consumers that it crashes."""
PEEK_LIMIT = 1_000_000
"""Peeking in the management UI counts as a redelivery: with a low limit, or none, reading a dead letter destroys it."""
OUTBOUND_MAX_LENGTH = 200_000
"""A second line of defence behind the dispatcher's own bound."""


class Lane(StrEnum):
    """The two outbound queues of each provider."""

    PRIORITY = "priority"
    BULK = "bulk"


class DeadLetterKey(StrEnum):
    """Routing keys on the dead-letter exchange."""

    OUTBOUND = "outbound"
    BATCHES = "batches"
    UNKNOWN = "unknown"
    RECEIPTS = "receipts"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable direct exchange."""

    name: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue with its arguments as the broker takes them."""

    name: str
    arguments: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """A queue's binding to an exchange by one routing key."""

    exchange: str
    queue: str
    key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """All that has to exist on the broker."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]

    def queue(self, name: str) -> Queue:
        """The queue of that name; KeyError where there is none."""
        return {queue.name: queue for queue in self.queues}[name]


def outbound_queue(lane: str, provider: str = DEFAULT_PROVIDER) -> str:
    """The work queue of a provider's lane."""
    return f"{OUTBOUND}.{outbound_key(lane, provider)}"


def outbound_key(lane: str, provider: str = DEFAULT_PROVIDER) -> str:
    """The routing key that leads there; the default provider's is the lane's name alone, as it was when there was no
    other."""
    return lane if provider == DEFAULT_PROVIDER else f"{provider}.{lane}"


def tier_name(delay_s: float) -> str:
    """A tier's short name: 5s, 2m, 1h, or 200ms below a second."""
    delay_ms = round(delay_s * 1000)
    for unit_ms, unit in ((3_600_000, "h"), (60_000, "m"), (1000, "s")):
        if delay_ms >= unit_ms and delay_ms % unit_ms == 0:
            return f"{delay_ms // unit_ms}{unit}"
    return f"{delay_ms}ms"


def retry_queue(delay_s: float) -> str:
    """The queue in which a message waits that long."""
    return f"{RETRY}.{tier_name(delay_s)}"


def retry_key(delay_s: float, lane: str, provider: str = DEFAULT_PROVIDER) -> str:
    """The routing key that leads into a tier, and after its TTL to the outbound queue of the provider's lane."""
    return f"{tier_name(delay_s)}.{outbound_key(lane, provider)}"


def build_topology(retry_tiers_s: Sequence[float], providers: Sequence[str] = (DEFAULT_PROVIDER,)) -> Topology:
    """Everything that the services need, for these retry delays in seconds and these providers.

    The default provider's queues are always there: what waits in them from a time when there was no other is fed anew.
    """
    names = dict.fromkeys((DEFAULT_PROVIDER, *providers))
    lanes = [(lane.value, provider) for provider in names for lane in Lane]
    queues = (
        Queue(BATCHES, _work(DeadLetterKey.BATCHES)),
        *(Queue(outbound_queue(*lane), _outbound()) for lane in lanes),
        *(Queue(retry_queue(delay_s), _tier(delay_s)) for delay_s in retry_tiers_s),
        Queue(RECEIPTS, _work(DeadLetterKey.RECEIPTS)),
        Queue(RECEIPTS_LATER_QUEUE, _later()),
        Queue(INBOUND_QUEUE, _work(DeadLetterKey.RECEIPTS)),
        *(Queue(name, _final()) for name in (DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, UNKNOWN_QUEUE, UNMATCHED_QUEUE)),
    )
    bindings = (
        Binding(BATCHES, BATCHES, BATCHES),
        *(Binding(OUTBOUND, outbound_queue(*lane), outbound_key(*lane)) for lane in lanes),
        *(binding for delay_s in retry_tiers_s for lane in lanes for binding in _tier_bindings(delay_s, *lane)),
        Binding(DEAD_LETTER, DEAD_LETTER, DeadLetterKey.OUTBOUND.value),
        Binding(DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, DeadLetterKey.BATCHES.value),
        Binding(DEAD_LETTER, UNKNOWN_QUEUE, DeadLetterKey.UNKNOWN.value),
        Binding(DEAD_LETTER, UNMATCHED_QUEUE, DeadLetterKey.RECEIPTS.value),
        Binding(RECEIPTS, RECEIPTS, RECEIPTS),
        Binding(RECEIPTS, RECEIPTS_LATER_QUEUE, RECEIPTS_LATER_QUEUE),
        Binding(RECEIPTS, INBOUND_QUEUE, INBOUND_QUEUE),
    )
    exchanges = tuple(Exchange(name) for name in (BATCHES, OUTBOUND, RETRY, DEAD_LETTER, RECEIPTS))
    return Topology(exchanges, queues, bindings)


def _tier_bindings(delay_s: float, lane: str, provider: str) -> tuple[Binding, Binding]:
    # A tier serves all lanes, so it names no x-dead-letter-routing-key: an expired message keeps its routing key,
    # and that key is bound on the outbound exchange to the lane's queue.
    key = retry_key(delay_s, lane, provider)
    return Binding(RETRY, retry_queue(delay_s), key), Binding(OUTBOUND, outbound_queue(lane, provider), key)


def _work(dead_letter_key: DeadLetterKey) -> dict[str, str | int]:
    # Without reject-publish, at-least-once dead-lettering silently falls back to at-most-once.
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": CRASH_LIMIT,
        "x-dead-letter-exchange": DEAD_LETTER,
        "x-dead-letter-routing-key": dead_letter_key.value,
        "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once",
    }


def _outbound() -> dict[str, str | int]:
    return {**_work(DeadLetterKey.OUTBOUND), "x-max-length": OUTBOUND_MAX_LENGTH}


def _tier(delay_s: float) -> dict[str, str | int]:
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": round(delay_s * 1000),
        "x-dead-letter-exchange": OUTBOUND,
        "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once",
    }


def _later() -> dict[str, str | int]:
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": RECEIPTS_AGAIN_MS,
        "x-dead-letter-exchange": RECEIPTS,
        "x-dead-letter-routing-key": RECEIPTS,
        "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once",
    }


def _final() -> dict[str, str | int]:
    return {"x-queue-type": "quorum", "x-delivery-limit": PEEK_LIMIT, "x-message-ttl": DEAD_LETTER_TTL_MS}
