"""Gateways: how one provider is called. Each takes texts and returns what is known after the call."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from shared.domain.outcome import CallResult


class TextMessage(NamedTuple):
    """One text to send: our reference `<batch_id>:<row>`, the number in E.164, the text."""

    reference: str
    to: str
    text: str


class Gateway(Protocol):
    """One provider. `send` makes one call and raises nothing: whatever happens is a verdict."""

    name: str
    max_recipients: int
    """How many messages, each to its own number, one call takes."""

    async def open(self) -> None:
        """Make ready to call."""

    async def send(self, messages: Sequence[TextMessage]) -> CallResult | Sequence[CallResult]:
        """Call the provider once, with one to `max_recipients` messages; never retries by itself.

        One result says what became of the call as a whole, and so of every message in it; several are for one message
        each, in the order of `messages`.
        """

    def may_be_of_one(self, whole: CallResult) -> bool:
        """Whether a call was refused as a whole, so that none of its messages was taken, perhaps because of a single
        one."""

    async def close(self) -> None:
        """Close the connections."""
