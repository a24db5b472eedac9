"""Exchanges, queues and bindings: what is missing or otherwise, what an interrupted migration left; and repair."""

from collections.abc import Callable, Collection, Iterable, Sequence

from shared.errors import SmsBatchError
from shared.management import NotAsked
from shared.topology import Binding, Topology
from tools.ctl.broker import Difference, compare, declare_all
from tools.ctl.doctoring.amqp import Counts, queue_counts
from tools.ctl.doctoring.findings import Finding, count, not_checked
from tools.ctl.doctoring.management import BindingThere
from tools.ctl.doctoring.migration import migrate, temporary
from tools.ctl.doctoring.system import System

_FIX = "smsctl doctor --fix"


def look_at_topology(system: System) -> list[Finding]:
    """The exchanges and queues that are missing or have other arguments."""
    queues = {queue.name for queue in system.topology.queues}
    different = compare(system.urls, system.topology)
    refused = [each.name for each in different if each.is_refused]
    unseen = (
        [not_checked(f"the arguments of {', '.join(refused)}", "the user may not configure them")] if refused else []
    )
    return [_finding(each, queues) for each in different if not each.is_refused] + unseen


def look_at_bindings(system: System) -> list[Finding]:
    """The bindings that are missing."""
    missing = missing_bindings(system.topology, system.management.bindings())
    return [Finding(f"{each} is missing", f"{_FIX} declares it") for each in named(missing)]


def look_for_leftovers(system: System) -> list[Finding]:
    """The queues that an interrupted migration left."""
    return [
        Finding(
            f"queue {name} is left of an interrupted migration, with {count(counts.ready, 'message')} in it",
            f"{_FIX} finishes it",
        )
        for name, counts in _leftovers(system).items()
    ]


def missing_bindings(topology: Topology, there: Iterable[BindingThere]) -> list[Binding]:
    """Those that should be there and are not."""
    found = {(each.source, each.destination, each.routing_key) for each in there}
    return [each for each in topology.bindings if (each.exchange, each.queue, each.key) not in found]


def named(bindings: Iterable[Binding]) -> list[str]:
    """Bindings for people, those of a queue to an exchange in one."""
    keys: dict[tuple[str, str], list[str]] = {}
    for each in bindings:
        keys.setdefault((each.queue, each.exchange), []).append(each.key)
    return [
        f"binding of {queue} to exchange {exchange} by {', '.join(of_both)}"
        for (queue, exchange), of_both in keys.items()
    ]


def repair(system: System, fixed: Callable[[str], None]) -> list[Finding]:
    """Declare what is missing and migrate what is otherwise, saying each; what could not be repaired."""
    different = compare(system.urls, system.topology)
    otherwise = {each.name for each in different if each.is_otherwise}
    declarable = without(system.topology, otherwise)
    missing = _missing(system, declarable, different)
    if missing:
        declare_all(system.urls, declarable)
        for name in missing:
            fixed(f"declared {name}")
    unrepaired = []
    leftovers = _leftovers(system)
    for queue in system.topology.queues:
        if queue.name not in otherwise and temporary(queue).name not in leftovers:
            continue
        try:
            moved = migrate(system.urls, system.management, system.topology, queue, differs=queue.name in otherwise)
            fixed(f"migrated queue {queue.name} with {count(moved, 'message')}")
        except SmsBatchError as error:
            unrepaired.append(Finding(f"queue {queue.name} was not migrated: {error}", f"then again: {_FIX}"))
    return unrepaired


def without(topology: Topology, names: Collection[str]) -> Topology:
    """The topology without some exchanges and queues, and what is bound to them."""
    return Topology(
        tuple(each for each in topology.exchanges if each.name not in names),
        tuple(each for each in topology.queues if each.name not in names),
        tuple(each for each in topology.bindings if not {each.exchange, each.queue}.intersection(names)),
    )


def _missing(system: System, declarable: Topology, different: Sequence[Difference]) -> list[str]:
    things = [each.sentence.removesuffix(" is missing") for each in different if each.is_missing]
    try:
        bindings = missing_bindings(declarable, system.management.bindings())
    except NotAsked:
        bindings = []
    return [*things, *named(bindings)]


def _leftovers(system: System) -> dict[str, Counts]:
    return queue_counts(system.urls, [temporary(queue).name for queue in system.topology.queues])


def _finding(difference: Difference, queues: Collection[str]) -> Finding:
    if difference.is_missing:
        return Finding(difference.sentence, f"{_FIX} declares it")
    if difference.is_otherwise and difference.name in queues:
        return Finding(difference.sentence, f"stop the services, then: {_FIX} (moves the messages over)")
    if difference.is_otherwise:
        return Finding(
            difference.sentence, f"stop the services, delete the exchange in the management UI, then: {_FIX}"
        )
    return Finding(difference.sentence)
