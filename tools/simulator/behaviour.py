"""Which behaviour a message meets, decided without I/O from its number, its reference, the default behaviour, and what
shares its call."""

from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class Behaviour(StrEnum):
    """What can be asked for; the two `-once` values are never recorded, only what they come to on a given call."""

    ACCEPT = "accept"
    SLOW = "slow"
    THROTTLE = "throttle"
    INTERNAL_ERROR = "500"
    UNAVAILABLE = "503"
    REFUSE = "refuse"
    UNAUTHORIZED = "401"
    NO_BALANCE = "402"
    FORBIDDEN = "403"
    PROXY_REFUSES = "407"
    ACCEPT_LATE = "accept-late"
    ACCEPT_RESET = "accept-reset"
    GARBAGE = "garbage"
    SPOIL = "spoil"
    UNAVAILABLE_ONCE = "unavailable-once"
    THROTTLE_ONCE = "throttle-once"


ACCEPTING = frozenset({Behaviour.ACCEPT, Behaviour.SLOW, Behaviour.ACCEPT_LATE, Behaviour.ACCEPT_RESET})

ENDINGS = {
    "9001": Behaviour.SLOW,
    "9002": Behaviour.THROTTLE_ONCE,
    "9003": Behaviour.UNAVAILABLE_ONCE,
    "9004": Behaviour.UNAVAILABLE,
    "9005": Behaviour.REFUSE,
    "9006": Behaviour.INTERNAL_ERROR,
    "9007": Behaviour.ACCEPT_LATE,
    "9008": Behaviour.ACCEPT_RESET,
    "9009": Behaviour.GARBAGE,
    "9010": Behaviour.THROTTLE,
    "9011": Behaviour.SPOIL,
}

SLOW_S = 1.0
_OF_THE_WHOLE_CALL = (
    Behaviour.SPOIL, Behaviour.INTERNAL_ERROR, Behaviour.GARBAGE, Behaviour.ACCEPT_RESET, Behaviour.ACCEPT_LATE,
)  # fmt: skip
_FIRST_CALL = {
    Behaviour.UNAVAILABLE_ONCE: Behaviour.UNAVAILABLE,
    Behaviour.THROTTLE_ONCE: Behaviour.THROTTLE,
}


class DefaultBehaviour(BaseModel):
    """What numbers without a special ending get: `mode` for `share` of the calls, acceptance for the rest.

    `delay_s` passes before any answer in `mode`; 0 leaves the mode its own delay (slow 1 s, accept-late the setting).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    mode: Behaviour = Behaviour.ACCEPT
    share: float = Field(default=1.0, ge=0, le=1)
    delay_s: float = Field(default=0.0, ge=0, le=3600)
    retry_after_s: int = Field(default=1, ge=0, le=86_400)
    seed: int = 0


class Call(NamedTuple):
    """One call to decide on: how often its reference was called before counts for the `-once` behaviours."""

    reference: str
    to: str
    earlier_calls: int


class Plan(NamedTuple):
    """What to do with one call: never a `-once` behaviour; `delay_s` passes before the answer."""

    behaviour: Behaviour
    delay_s: float = 0.0
    retry_after_s: int = 1


_ACCEPT_AT_ONCE = Plan(Behaviour.ACCEPT)


def decide(call: Call, default: DefaultBehaviour, late_s: float) -> Plan:
    """The plan for one call: the number's ending first, then the default behaviour; the same input, the same plan."""
    ending = ENDINGS.get(call.to[-4:])
    if ending is not None:
        behaviour = _on_this_call(ending, call.earlier_calls)
        return Plan(behaviour, _own_delay_s(behaviour, late_s))
    if not _in_share(call, default):
        return _ACCEPT_AT_ONCE
    behaviour = _on_this_call(default.mode, call.earlier_calls)
    return Plan(behaviour, default.delay_s or _own_delay_s(behaviour, late_s), default.retry_after_s)


def together(plans: Sequence[Plan], about_all: Sequence[Behaviour] = ()) -> Sequence[Plan]:
    """The plans for messages that share a call; `about_all` is what an API has only of a call as a whole.

    What one of them does to the answer as a whole, it does to all: nothing is taken with `spoil`, `500` and `garbage`;
    with `accept-reset` and `accept-late` what would be accepted is, and the answer is lost or late for all.
    """
    behaviours = {plan.behaviour for plan in plans}
    whole = next((behaviour for behaviour in (*about_all, *_OF_THE_WHOLE_CALL) if behaviour in behaviours), None)
    if whole is None:
        return plans
    return [plan._replace(behaviour=whole) if _is_drawn_in(plan, whole) else plan for plan in plans]


def _is_drawn_in(plan: Plan, whole: Behaviour) -> bool:
    return whole not in ACCEPTING or plan.behaviour in ACCEPTING


def _on_this_call(asked: Behaviour, earlier_calls: int) -> Behaviour:
    first = _FIRST_CALL.get(asked)
    if first is None:
        return asked
    return Behaviour.ACCEPT if earlier_calls else first


def _own_delay_s(behaviour: Behaviour, late_s: float) -> float:
    if behaviour is Behaviour.SLOW:
        return SLOW_S
    return late_s if behaviour is Behaviour.ACCEPT_LATE else 0.0


def _in_share(call: Call, default: DefaultBehaviour) -> bool:
    # A hash rather than a generator's next number: with several senders the order of calls differs from run to run,
    # and a seed should still pick the same ones.
    if default.share >= 1:
        return True
    key = f"{default.seed}:{call.earlier_calls}:{call.reference}".encode()
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") < default.share * 2**64
