"""Deliveries that came back several times: one of them may be what ends its senders; pure."""

from collections.abc import Iterable

from shared.amqp.messages import Delivery
from shared.domain.outcome import Outcome
from shared.domain.states import State


def partition_suspects(deliveries: Iterable[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """The ordinary deliveries, and the suspects (`Delivery.is_suspect`)."""
    ordinary: list[Delivery] = []
    suspects: list[Delivery] = []
    for delivery in deliveries:
        (suspects if delivery.is_suspect else ordinary).append(delivery)
    return ordinary, suspects


def poisoned(delivery: Delivery) -> Outcome:
    """What becomes of a poison message's number."""
    reason = f"Its message came back {delivery.returns} times from senders that ended while they had it"
    return Outcome(State.FAILED, "crashes_sender", reason)
