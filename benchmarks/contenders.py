"""Who drains a batch: our services, or a framework's dispatcher and two senders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.client import Client, batch_body
from benchmarks.competitors import FRAMEWORKS
from benchmarks.competitors.fan_out import FanOut
from benchmarks.parts import Parts

PER_CALL = 100
OURS, OURS_MANY = "sms-batch", f"sms-batch, {PER_CALL} per call"
_SETTLED_WITHIN_S = 15


class Contender(Protocol):
    """`start` returns when it can be handed a batch."""

    name: str

    def start(self, parts: Parts) -> None:
        """Start its processes."""

    def prepare(self, count: int) -> None:
        """Make a batch ready to be handed in, which nobody is to wait for."""

    def hand_in(self) -> None:
        """Hand in the batch; returns when it is accepted."""

    def pids(self) -> Mapping[str, Sequence[int]]:
        """Its processes by what they do: whoever takes the batch, the dispatcher, the senders; no servers."""

    def stop(self) -> None:
        """End its processes."""


@dataclass
class Ours:
    """api, dispatcher and senders, each number in the ledger; with settings of the senders, and of all three, that
    differ from the defaults."""

    name: str
    provider_path: str
    sender_settings: dict[str, str]
    senders: int = 2
    settings: Mapping[str, str] = field(default_factory=dict)
    api_url: str = field(default="", init=False)
    """Known when it has started."""
    batch_id: str = field(default="", init=False)
    """Of the batch that was handed in last."""

    def start(self, parts: Parts) -> None:
        of_senders = {"SMS_PROVIDER_URL": parts.provider.url(self.provider_path), **self.sender_settings}
        self._processes = [parts.start(f"services.{name}", **self.settings) for name in ("api", "dispatcher")]
        self._processes += [parts.start("services.sender", **self.settings, **of_senders) for _ in range(self.senders)]
        self.api_url = self._processes[0].url
        self._client = Client(self.api_url)

    def prepare(self, count: int) -> None:
        self._count, self._body = count, batch_body(count)

    def hand_in(self) -> None:
        self.batch_id = self._client.post(self._body)

    def pids(self) -> Mapping[str, Sequence[int]]:
        api, dispatcher, *senders = (process.pid for process in self._processes)
        return {"api": [api], "dispatcher": [dispatcher], "senders": senders}

    def stop(self) -> None:
        try:
            # The provider has seen every number; the ledger has to say so as well.
            self._client.await_count(self.batch_id, "sent", self._count, _SETTLED_WITHIN_S)
        finally:
            self._client.close()
            for process in self._processes:
                process.stop()


def contenders() -> Sequence[Contender]:
    """Ours with one number per call and with a hundred, and every framework."""
    many = {"SMS_PROVIDER_MAX_RECIPIENTS": str(PER_CALL)}
    ours = Ours(OURS, "messages", {}), Ours(OURS_MANY, "batches", many)
    return [*ours, *(FanOut(framework) for framework in FRAMEWORKS)]
