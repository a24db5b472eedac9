"""Gateways: how one provider is called. Each takes a text and returns what is known after the call."""

from dataclasses import dataclass
from typing import Protocol

from shared.outcome import CallResult


@dataclass(frozen=True, slots=True)
class TextMessage:
    """One text to send: our reference `<batch_id>:<row>`, the number in E.164, the text."""

    reference: str
    to: str
    text: str


class Gateway(Protocol):
    """One provider. `send` makes one call and raises nothing: whatever happens is a verdict."""

    name: str

    async def open(self) -> None:
        """Make ready to call."""

    async def send(self, message: TextMessage) -> CallResult:
        """Call the provider once; never retries by itself."""

    async def close(self) -> None:
        """Close the connections."""
