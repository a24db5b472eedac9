"""The doctor's course: the parts first, then every check whose parts are there; none hides or holds up another."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import requests

from shared.amqp.link import UNREACHABLE
from shared.amqp.reconnecting import describe
from shared.errors import SmsBatchError
from tools.ctl.doctoring import clocks, encryption, policies, providers, queues, rights, server, work
from tools.ctl.doctoring.findings import Finding, NotChecked, not_checked
from tools.ctl.doctoring.parts import PARTS, Condition, Part
from tools.ctl.doctoring.system import System

_LONGEST_S = 20

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Check:
    """One thing to look at, and the parts without which it cannot be seen."""

    about: str
    needs: tuple[Part, ...]
    look: Callable[[System], list[Finding]]


CHECKS = (
    Check("exchanges and queues", (Part.BROKER,), queues.look_at_topology),
    Check("bindings", (Part.MANAGEMENT,), queues.look_at_bindings),
    Check("interrupted migrations", (Part.BROKER,), queues.look_for_leftovers),
    Check("policies", (Part.MANAGEMENT,), policies.look_at_policies),
    Check("permissions", (Part.BROKER,), rights.look_at_rights),
    Check("RabbitMQ's version", (Part.BROKER,), server.look_at_versions),
    Check("deprecated features", (Part.MANAGEMENT,), server.look_at_deprecated_features),
    Check("alarms", (Part.MANAGEMENT,), server.look_at_alarms),
    Check("the cluster's nodes", (Part.MANAGEMENT,), server.look_at_nodes),
    Check("consumers", (Part.BROKER,), work.look_at_consumers),
    Check("the number of dead letters", (Part.BROKER,), work.look_at_letters),
    Check("whether dead letters grow", (Part.LEDGER,), work.look_at_ends),
    Check("ledger and queues", (Part.BROKER, Part.LEDGER), work.look_for_standing_still),
    Check("the providers' pauses", (Part.LEDGER,), providers.look_at_pauses),
    Check("the providers' names", (Part.LEDGER,), providers.look_at_names),
    Check("the providers' senders", (Part.LEDGER,), providers.look_at_senders),
    Check("encryption", (), encryption.look_at_urls),
    Check("the database's encryption", (Part.LEDGER,), encryption.look_at_database),
    Check("the database's clock", (Part.LEDGER,), clocks.look_at_databases_clock),
    Check("RabbitMQ's clock", (Part.MANAGEMENT,), clocks.look_at_brokers_clock),
    Check("the api's clock", (Part.API,), clocks.look_at_apis_clock),
)


def examine(system: System) -> Iterator[list[Finding]]:
    """Look at everything; the findings of one thing after the other."""
    conditions = {part: Pending(partial(look, system)) for part, look in PARTS.items()}
    unusable: dict[Part, str] = {}
    for part, pending in conditions.items():
        condition = _condition(part, pending)
        if condition.unusable:
            unusable[part] = condition.unusable
        yield list(condition.findings)
    yield from _checked(system, unusable)


def _condition(part: Part, pending: "Pending[Condition]") -> Condition:
    try:
        return pending.answer()
    except NotChecked as error:
        return Condition((Finding(f"{part} does not answer: {error}"),), str(error))


def _checked(system: System, unusable: Mapping[Part, str]) -> Iterator[list[Finding]]:
    begun = [
        (check, None if any(part in unusable for part in check.needs) else Pending(partial(check.look, system)))
        for check in CHECKS
    ]
    for check, pending in begun:
        if pending is None:
            reason = next(unusable[part] for part in check.needs if part in unusable)
            yield [not_checked(check.about, reason)]
            continue
        try:
            yield pending.answer()
        except NotChecked as error:
            yield [not_checked(check.about, str(error))]


class Pending(Generic[Answer]):
    """A look in a thread of its own. One that never comes back is left alone, and does not keep the process."""

    def __init__(self, look: Callable[[], Answer]) -> None:
        self._look, self._deadline_s = look, time.monotonic() + _LONGEST_S
        self._answers: SimpleQueue[Answer | NotChecked] = SimpleQueue()
        Thread(target=self._run, daemon=True).start()

    def answer(self) -> Answer:
        """What was seen; NotChecked where it could not be seen, or not in time."""
        try:
            answer = self._answers.get(timeout=max(0.0, self._deadline_s - time.monotonic()))
        except Empty:
            raise NotChecked(f"there was no answer within {_LONGEST_S} s") from None
        if isinstance(answer, NotChecked):
            raise answer
        return answer

    def _run(self) -> None:
        try:
            self._answers.put(self._look())
        except NotChecked as error:
            self._answers.put(error)
        except SmsBatchError as error:
            self._answers.put(NotChecked(str(error)))
        except (*UNREACHABLE, requests.RequestException) as error:
            self._answers.put(NotChecked(describe(error)))
