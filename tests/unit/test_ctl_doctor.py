"""The doctor's decisions: versions, nodes, clocks, permissions, bindings, where a moved message goes."""

import pika
import pytest

from shared.domain.states import State
from shared.ledger.diagnosing import Ended
from shared.topology import Binding, Queue, build_topology, outbound_queue
from tools.ctl.doctoring.amqp import Counts
from tools.ctl.doctoring.clocks import differing
from tools.ctl.doctoring.findings import Finding, Kind, NotChecked, count, hint, not_checked
from tools.ctl.doctoring.management import BindingThere, QueueThere
from tools.ctl.doctoring.migration import place_in, temporary
from tools.ctl.doctoring.parts import not_ready, tables_differ
from tools.ctl.doctoring.queues import missing_bindings, named, without
from tools.ctl.doctoring.report import Report
from tools.ctl.doctoring.rights import Permissions, lacking_by
from tools.ctl.doctoring.server import NodeState, about_node, about_version
from tools.ctl.doctoring.session import carried
from tools.ctl.doctoring.work import growing, held_up_by

TOPOLOGY = build_topology([5, 30])
BULK, TIER = outbound_queue("bulk"), "sms.retry.5s"


@pytest.mark.parametrize(
    ("version", "kind", "said"),
    [
        ("3.9.29", Kind.WRONG, "older than 3.10"),
        ("3.10.8", Kind.HINT, "killed within a second"),
        ("3.13.7", Kind.HINT, "none of the versions"),
        ("4.0.0", Kind.WRONG, "dead-lettering"),
        ("4.2.9", Kind.WRONG, "older than 4.3.5"),
        ("4.3.2", Kind.WRONG, "can get stuck"),
        ("4.3.3", Kind.WRONG, "checkpoint"),
        ("4.3.4", Kind.WRONG, "checkpoint"),
        ("4.3.4+12.gabcdef", Kind.WRONG, "checkpoint"),
        ("4.10.0", Kind.HINT, "none of the versions"),
        ("5.0.1", Kind.HINT, "none of the versions"),
    ],
)
def test_a_version_with_known_bugs_is_wrong_and_an_untested_one_a_hint(version: str, kind: Kind, said: str) -> None:
    found = about_version(version)
    assert found is not None
    assert (found.kind, said in found.what) == (kind, True)


def test_a_good_version_is_not_mentioned() -> None:
    assert [about_version(version) for version in ("4.3.5", "4.3.6", "4.3.10")] == [None] * 3
    with pytest.raises(NotChecked):
        about_version("None")


def test_the_first_fix_is_named_only_where_it_is_lacking() -> None:
    before, after = about_version("4.3.2"), about_version("4.3.3")
    assert before is not None
    assert after is not None
    assert ("4.3.3)" in before.what, "4.3.3)" in after.what) == (True, False)


def test_a_node_that_is_down_or_cut_off_is_wrong() -> None:
    down = about_node(NodeState(name="rabbit@b", running=False))
    cut_off = about_node(NodeState(name="rabbit@a", partitions=["rabbit@b"]))
    assert down is not None
    assert down.what == "RabbitMQ's node rabbit@b is down"
    assert cut_off is not None
    assert "cut off from rabbit@b" in cut_off.what
    assert about_node(NodeState(name="rabbit@a")) is None


@pytest.mark.parametrize(
    ("theirs_s", "said"),
    [
        (1000, None),
        (1006, None),
        (1007.5, "6 s ahead of"),
        (994, None),
        (993, "7 s behind"),
        (4600, "3599 s ahead of"),
    ],
)
def test_more_than_five_seconds_between_clocks_are_too_many(theirs_s: float, said: str | None) -> None:
    found = differing("the api's", theirs_s, 1000, 1001)
    assert (found and found.what) == (said and f"the api's clock is {said} this machine's")


def test_a_pattern_that_does_not_cover_all_names_is_lacking() -> None:
    names = {each.name for each in TOPOLOGY.exchanges} | {each.name for each in TOPOLOGY.queues}
    lacking = lacking_by(Permissions(configure="^sms\\.", write="", read="batches|outbound"), TOPOLOGY)
    assert lacking["configure"] == []
    assert set(lacking["write"]) == names
    assert set(lacking["read"]) == {name for name in names if "batches" not in name and "outbound" not in name}


def test_a_pattern_that_python_cannot_read_is_not_judged() -> None:
    with pytest.raises(NotChecked):
        lacking_by(Permissions(configure="(?|a)", write="", read=""), TOPOLOGY)


def there(binding: Binding) -> BindingThere:
    return BindingThere(
        source=binding.exchange, destination=binding.queue, destination_type="queue", routing_key=binding.key
    )


def test_bindings_that_are_not_there_are_named_together() -> None:
    gone = [binding for binding in TOPOLOGY.bindings if binding.queue == TIER]
    found = [there(binding) for binding in TOPOLOGY.bindings if binding not in gone]
    assert missing_bindings(TOPOLOGY, found) == gone
    assert named(gone) == [f"binding of {TIER} to exchange sms.retry by 5s.priority, 5s.bulk"]
    assert missing_bindings(TOPOLOGY, [there(binding) for binding in TOPOLOGY.bindings]) == []


def test_a_topology_without_a_queue_is_without_its_bindings() -> None:
    rest = without(TOPOLOGY, {TIER})
    assert TIER not in {queue.name for queue in rest.queues}
    assert TIER not in {binding.queue for binding in rest.bindings}
    assert len(rest.bindings) == len(TOPOLOGY.bindings) - 2
    assert without(TOPOLOGY, {"sms.retry"}).bindings == tuple(
        binding for binding in TOPOLOGY.bindings if binding.exchange != "sms.retry"
    )


@pytest.mark.parametrize("queue", TOPOLOGY.queues, ids=lambda queue: queue.name)
def test_in_the_temporary_queue_nothing_expires_or_is_refused(queue: Queue) -> None:
    between = temporary(queue)
    assert between.name == f"{queue.name}.migrating"
    assert not {"x-message-ttl", "x-max-length"} & set(between.arguments)
    assert between.arguments["x-delivery-limit"] == 1_000_000
    # A message may have a TTL of its own: it goes where it would go from the queue.
    for argument in ("x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-overflow"):
        assert between.arguments.get(argument) == queue.arguments.get(argument)


def test_a_message_is_published_where_it_was_published_first_if_that_leads_there() -> None:
    place = place_in([("sms.retry", "5s.bulk"), ("sms.retry", "5s.priority")], ("sms.retry", "5s.priority"))
    assert place(("sms.retry", "5s.bulk")) == ("sms.retry", "5s.bulk")
    assert place(("", TIER)) == ("sms.retry", "5s.priority")


def test_what_the_broker_added_to_a_message_is_not_published_again() -> None:
    headers = {"x-delivery-count": 3, "x-acquired-count": 1, "x-attempts": 2}
    moved = carried(pika.BasicProperties(headers=headers, user_id="somebody", message_id="a", expiration="5"))
    assert (moved.headers, moved.user_id, moved.message_id, moved.expiration) == ({"x-attempts": 2}, None, "a", "5")
    assert carried(pika.BasicProperties(headers={"x-delivery-count": 0})).headers is None
    assert carried(pika.BasicProperties()).headers is None


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        (QueueThere(name="a", arguments={"x-dead-letter-exchange": "x"}), True),
        (QueueThere(name="a", effective_policy_definition={"dead-letter-exchange": "x"}), True),
        (QueueThere(name="a", effective_policy_definition=[]), False),
        (QueueThere(name="a"), False),
    ],
)
def test_a_queue_dead_letters_by_argument_or_policy(queue: QueueThere, expected: bool) -> None:  # noqa: FBT001
    assert queue.dead_letters is expected


def test_tables_that_are_behind_or_ahead_are_told_apart() -> None:
    known = ["0003", "0002", "0001"]
    assert tables_differ("0003", known) is None
    said = [found.what for revision in (None, "0002", "0004") if (found := tables_differ(revision, known))]
    assert said[0] == "the ledger has no tables"
    assert said[1].endswith("version 0002, this code needs 0003")
    assert "does not know" in said[2]


def test_an_api_that_is_not_ready_says_why_and_something_else_is_not_taken_for_it() -> None:
    assert not_ready("http://api", 200, {"checks": {"broker": True}}) is None
    failing = not_ready("http://api", 503, {"checks": {"broker": False, "ledger": False, "running": True}})
    assert failing is not None
    assert failing.what == "the api is not ready: broker, ledger"
    slow = not_ready(
        "http://api", 503, {"checks": {"broker": True, "clock": False}, "reasons": {"clock": "it is slow"}}
    )
    assert slow is not None
    assert slow.what == "the api is not ready: clock (it is slow)"
    other = not_ready("http://api", 200, None)
    assert other is not None
    assert "is not the api" in other.what


def test_dead_letters_that_come_in_are_counted_by_reason() -> None:
    ended = [Ended(State.FAILED, "E1", 3), Ended(State.FAILED, None, 1), Ended(State.UNKNOWN, "timeout", 2)]
    failed, unknown, batches = growing(ended, 2)
    assert "4 numbers became failed within the last ten minutes (E1 3, no code 1)" in failed.what
    assert "2 numbers became unknown" in unknown.what
    assert "2 batches could not be sent" in batches.what
    assert growing([], 0) == []


def test_messages_that_wait_explain_numbers_that_stand_still() -> None:
    def depths(**ready: int) -> dict[str, Counts]:
        return {queue: Counts(ready.get(name, 0), 1) for name, queue in {"bulk": BULK, "tier": TIER}.items()}

    assert held_up_by(State.QUEUED, "bulk", depths(bulk=1))
    assert not held_up_by(State.QUEUED, "bulk", depths(tier=1))
    assert not held_up_by(State.QUEUED, "priority", depths(bulk=1))
    assert held_up_by(State.RETRYING, "bulk", depths(tier=1))
    assert not held_up_by(State.RETRYING, "bulk", depths())
    assert not held_up_by(State.SENDING, "bulk", depths(bulk=1, tier=1))


def test_a_report_counts_by_kind_and_only_what_is_wrong_is_unwell() -> None:
    report = Report(None)
    report.add([hint("a"), not_checked("b", "c")])
    assert report.is_well
    assert report.summary == "nothing is wrong, 1 hint, 1 not checked"
    report.add([Finding("d", "e")])
    assert not report.is_well
    assert report.summary == "1 finding, 1 hint, 1 not checked"


def test_a_finding_has_its_remedy_on_a_line_of_its_own() -> None:
    assert Finding("a is wrong", "do b").lines == "a is wrong\n    do b"
    assert hint("a").lines == "hint: a"
    assert not_checked("a", "b").lines == "not checked: a, because b"
    assert (count(1, "batch", "batches"), count(2, "batch", "batches"), count(0, "message")) == (
        "1 batch",
        "2 batches",
        "0 messages",
    )
