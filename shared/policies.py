"""What a broker's policies do to our queues, against what the queues were declared to do; pure.

A queue has at most one policy and one operator policy: those of the highest priority that match its name. What holds
where argument, policy and operator policy name the same thing (`rabbit_quorum_queue:gather_policy_config` and
`rabbit_policies:merge_policy_value`, the same from 3.10 to 4.3, tried on both ends):

- message-ttl, expires, max-length, max-length-bytes: the lowest;
- delivery-limit: the lowest, but a negative one (no limit) gives way to any other;
- overflow: the operator policy, then the policy, then the argument;
- dead-letter-exchange, dead-letter-routing-key: the argument, then the policy.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any, NamedTuple

import orjson

from shared.topology import DEAD_LETTER, PEEK_LIMIT, UNKNOWN_QUEUE, UNMATCHED_QUEUE, Queue

Value = str | int
Told = Mapping[str, str | None]
"""What the broker says of a queue: the name of its policy of either kind. One that it says nothing of is left out."""

POLICY, OPERATOR_POLICY = "policy", "operator_policy"
"""The two kinds, as rabbitmqctl and the management API call them."""

_DEAD_LETTERS = frozenset({"dead-letter-exchange", "dead-letter-routing-key"})
_EXCHANGE_ARGUMENT = "x-dead-letter-exchange"
_REJECTS = "reject-publish"
"""Anything else drops messages from a quorum queue's head, and makes at-least-once dead-lettering at-most-once."""
_ONLY_LETTERS = frozenset({DEAD_LETTER, UNKNOWN_QUEUE, UNMATCHED_QUEUE})
"""Queues of numbers that the ledger has ended: what is lost of them is lost to whoever reads letters, not to a batch.
A batch that crashed the dispatcher is nowhere but in its dead-letter queue, so that is none of them."""
_APPLIED_TO_QUEUES = frozenset({"all", "queues", "quorum_queues"})
_SHIELD = orjson.dumps({"delivery-limit": PEEK_LIMIT}).decode()
"""A policy that changes nothing, as no queue of ours has a higher limit; an empty definition is refused."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy or operator policy of our virtual host."""

    name: str
    pattern: str
    definition: Mapping[str, Any]
    priority: int = 0
    apply_to: str = "all"
    kind: str = POLICY

    def matches(self, queue: str) -> bool:
        """Whether it is for the queue, by its pattern; one that only Erlang can read is held to be."""
        if self.apply_to not in _APPLIED_TO_QUEUES:
            return False
        try:
            return re.search(self.pattern, queue) is not None
        except re.error:
            return True


class Effect(NamedTuple):
    """What a policy changes of a queue."""

    queue: str
    key: str
    value: Value
    may_lose: bool
    """Whether numbers or batches that had a 202 may get lost by it, or fail."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A policy that changes what our queues do."""

    policy: Policy
    virtual_host: str
    effects: tuple[Effect, ...]

    @property
    def may_lose(self) -> bool:
        """Whether nothing may be accepted while it is there."""
        return any(effect.may_lose for effect in self.effects)

    @property
    def sentence(self) -> str:
        """What is wrong, for people."""
        by_change: dict[str, list[str]] = {}
        for effect in self.effects:
            by_change.setdefault(f"{effect.key}={effect.value}", []).append(effect.queue)
        changes = "; ".join(f"{change} on {', '.join(queues)}" for change, queues in by_change.items())
        what = "accepted messages may be lost" if self.may_lose else "dead letters may be lost or moved"
        kind = self.policy.kind.replace("_", " ")
        return f"{kind} {self.policy.name} (pattern {self.policy.pattern}) sets {changes}: {what}"

    @property
    def command(self) -> str:
        """The command that takes the policy away."""
        return f"rabbitmqctl clear_{self.policy.kind} -p {quote(self.virtual_host)} {quote(self.policy.name)}"

    @property
    def shield(self) -> str:
        """The command that leaves the policy to other queues: one above it for ours, which changes nothing."""
        options = f"-p {quote(self.virtual_host)} --priority {self.policy.priority + 1} --apply-to queues"
        return rf"rabbitmqctl set_{self.policy.kind} {options} sms-batch '^sms\.' '{_SHIELD}'"

    @property
    def remedy(self) -> str:
        """What to do, in a line."""
        return f"{self.command}  (or, where other queues need it: {self.shield})"


def flaws(
    virtual_host: str, queues: Iterable[Queue], policies: Sequence[Policy], told: Mapping[str, Told]
) -> list[Flaw]:
    """The policies that change what our queues do, in the order of their names.

    `policies` are both kinds of the virtual host. `told` has the queues that are there; for the others, and for a kind
    of policy that the broker says nothing of, the patterns decide.
    """
    changed: dict[tuple[str, str], list[Effect]] = {}
    named = {(policy.kind, policy.name): policy for policy in policies}
    for queue in queues:
        for policy, effect in _effects(queue, _applied(queue.name, policies, told.get(queue.name, {}))):
            changed.setdefault((policy.kind, policy.name), []).append(effect)
    return [Flaw(named[key], virtual_host, tuple(changed[key])) for key in sorted(changed)]


def _applied(queue: str, policies: Sequence[Policy], told: Told) -> list[Policy]:
    """A queue's policies, the operator's first."""
    found = []
    for kind in (OPERATOR_POLICY, POLICY):
        of_kind = [policy for policy in policies if policy.kind == kind]
        matching = [
            policy for policy in of_kind if (policy.name == told[kind] if kind in told else policy.matches(queue))
        ]
        if matching:
            found.append(max(matching, key=lambda policy: policy.priority))
    return found


def _effects(queue: Queue, applied: Sequence[Policy]) -> Iterator[tuple[Policy, Effect]]:
    """Each change by each policy, so that without those named none of it is left."""
    for policy in applied:
        for key, value in sorted(policy.definition.items()):
            if key in _CHANGES and _CHANGES[key](queue, applied, key, value):
                yield policy, Effect(queue.name, key, value, _may_lose(queue, key))


def _is_lower(queue: Queue, _applied: Sequence[Policy], key: str, value: Any) -> bool:
    own = queue.arguments.get(f"x-{key}")
    return own is None or 0 <= value < int(own)


def _is_lower_and_counts(queue: Queue, applied: Sequence[Policy], key: str, value: Any) -> bool:
    # Nobody consumes the queues that have no limit of their own.
    return f"x-{key}" in queue.arguments and _is_lower(queue, applied, key, value)


def _is_lower_and_drops(queue: Queue, applied: Sequence[Policy], key: str, value: Any) -> bool:
    # What refuses messages that are too many loses none.
    return _overflow(queue, applied) != _REJECTS and _is_lower(queue, applied, key, value)


def _drops(queue: Queue, applied: Sequence[Policy], _key: str, value: Any) -> bool:
    return "x-overflow" in queue.arguments and _REJECTS not in (value, _overflow(queue, applied))


def _leads_elsewhere(queue: Queue, applied: Sequence[Policy], key: str, _value: Any) -> bool:
    has_exchange = _EXCHANGE_ARGUMENT in queue.arguments or any(
        "dead-letter-exchange" in each.definition for each in applied
    )
    return has_exchange and f"x-{key}" not in queue.arguments


_CHANGES: Mapping[str, Callable[[Queue, Sequence[Policy], str, Any], bool]] = {
    "message-ttl": _is_lower,
    "expires": _is_lower,
    "delivery-limit": _is_lower_and_counts,
    "max-length": _is_lower_and_drops,
    "max-length-bytes": _is_lower_and_drops,
    "overflow": _drops,
    "dead-letter-exchange": _leads_elsewhere,
    "dead-letter-routing-key": _leads_elsewhere,
}
"""Whether a value in a policy that is in force for a queue changes what the queue does."""


def _overflow(queue: Queue, applied: Sequence[Policy]) -> Value | None:
    """The overflow in force."""
    own = queue.arguments.get("x-overflow")
    return next((policy.definition["overflow"] for policy in applied if "overflow" in policy.definition), own)


def _may_lose(queue: Queue, key: str) -> bool:
    # A queue without a dead-letter exchange of its own has letters, which one of a policy only moves when they expire.
    moves_letters = key in _DEAD_LETTERS and _EXCHANGE_ARGUMENT not in queue.arguments
    return queue.name not in _ONLY_LETTERS and not moves_letters
