"""Which policies change what our queues do: judged by what is in force, not by what is written."""

from typing import Any

import pytest

from shared.policies import OPERATOR_POLICY, POLICY, Flaw, Policy, Told, flaws
from shared.topology import build_topology

TIERS_S = (5, 60)
QUEUES = build_topology(TIERS_S).queues
BATCHES, BULK, PRIORITY = "sms.batches", "sms.outbound.bulk", "sms.outbound.priority"
SHORT_TIER, LONG_TIER = "sms.retry.5s", "sms.retry.1m"
LETTERS, BATCH_LETTERS, UNKNOWN = "sms.dead-letter", "sms.dead-letter.batches", "sms.unknown"
RECEIPTS, EARLY, UNMATCHED = "sms.receipts", "sms.receipts.later", "sms.receipts.unmatched"
INBOUND = "sms.inbound"
WORK, TIERS = {BATCHES, BULK, PRIORITY, RECEIPTS, INBOUND}, {SHORT_TIER, LONG_TIER}
FINAL = {LETTERS, BATCH_LETTERS, UNKNOWN, UNMATCHED}
ALL = WORK | TIERS | FINAL | {EARLY}
WEEK_MS = 604_800_000


def policy(definition: dict[str, Any], pattern: str = ".*", **more: Any) -> Policy:
    return Policy(more.pop("name", "p"), pattern, definition, **more)


def found(*policies: Policy, told: dict[str, Told] | None = None) -> list[Flaw]:
    return flaws("/", QUEUES, policies, told or {})


def changed(*policies: Policy) -> dict[str, set[str]]:
    """The queues that are changed, by key."""
    by_key: dict[str, set[str]] = {}
    for flaw in found(*policies):
        for effect in flaw.effects:
            by_key.setdefault(effect.key, set()).add(effect.queue)
    return by_key


@pytest.mark.parametrize("kind", [POLICY, OPERATOR_POLICY])
@pytest.mark.parametrize(
    ("definition", "queues"),
    [
        ({"message-ttl": 1000}, ALL),
        ({"message-ttl": 0}, ALL),
        ({"message-ttl": 5000}, ALL - {SHORT_TIER, EARLY}),
        ({"message-ttl": 60_000}, ALL - TIERS - {EARLY}),
        ({"message-ttl": WEEK_MS}, WORK),
        ({"expires": 2**32 - 1}, ALL),
        ({"max-length": 10}, FINAL),
        ({"max-length": 10, "overflow": "reject-publish"}, set()),
        ({"max-length-bytes": 10}, FINAL),
        ({"delivery-limit": 5}, WORK | FINAL),
        ({"delivery-limit": 20}, FINAL),
        ({"delivery-limit": 1_000_000}, set()),
        ({"delivery-limit": -1}, set()),
        ({"overflow": "drop-head"}, WORK | TIERS | {EARLY}),
        ({"overflow": "reject-publish-dlx"}, WORK | TIERS | {EARLY}),
        ({"overflow": "reject-publish"}, set()),
        ({"dead-letter-exchange": "x"}, FINAL),
        ({"dead-letter-routing-key": "x"}, TIERS),
        ({"dead-letter-strategy": "at-most-once"}, set()),
        ({"queue-leader-locator": "balanced", "target-group-size": 3}, set()),
    ],
)
def test_a_policy_is_judged_by_what_it_changes(kind: str, definition: dict[str, Any], queues: set[str]) -> None:
    assert set().union(*changed(policy(definition, kind=kind)).values()) == queues


def test_a_length_drops_where_the_same_policy_drops_from_the_head() -> None:
    assert changed(policy({"max-length": 10, "overflow": "drop-head"})) == {
        "max-length": ALL,
        "overflow": WORK | TIERS | {EARLY},
    }
    assert BULK not in changed(policy({"max-length": 200_000, "overflow": "drop-head"}))["max-length"]


def test_a_dead_letter_routing_key_leads_letters_astray_only_with_an_exchange() -> None:
    assert changed(policy({"dead-letter-exchange": "x", "dead-letter-routing-key": "y"})) == {
        "dead-letter-exchange": FINAL,
        "dead-letter-routing-key": TIERS | FINAL,
    }


def test_of_several_policies_of_a_kind_only_the_one_of_the_highest_priority_counts() -> None:
    harmful, harmless = policy({"expires": 1000}, priority=3), {"delivery-limit": 1_000_000}
    assert found(harmful, policy(harmless, r"^sms\.", name="ours", priority=4)) == []
    assert found(harmful, policy(harmless, r"^sms\.", name="ours", priority=2)) != []
    assert changed(harmful, policy(harmless, r"^sms\.retry\.", name="ours", priority=4)) == {"expires": ALL - TIERS}


def test_a_policy_and_an_operator_policy_are_both_named_where_both_have_to_go() -> None:
    mine, operators = policy({"message-ttl": 1000}), policy({"message-ttl": 2000}, kind=OPERATOR_POLICY)
    assert {flaw.command for flaw in found(mine, operators)} == {
        "rabbitmqctl clear_policy -p / p",
        "rabbitmqctl clear_operator_policy -p / p",
    }


def test_an_operator_policy_overrules_how_a_policy_overflows() -> None:
    rejects = policy({"overflow": "reject-publish"}, kind=OPERATOR_POLICY)
    assert changed(policy({"overflow": "drop-head"}), rejects) == {}


@pytest.mark.parametrize(
    ("pattern", "queues"),
    [
        ("^sms\\.retry\\.", TIERS),
        ("retry", TIERS),
        ("^sms\\.batches$", {BATCHES}),
        ("^other", set()),
        ("(*UTF8)^other", ALL),
    ],
)
def test_a_pattern_is_searched_in_the_name_and_one_that_cannot_be_read_is_feared(
    pattern: str, queues: set[str]
) -> None:
    assert changed(policy({"expires": 1000}, pattern)).get("expires", set()) == queues


@pytest.mark.parametrize(
    ("apply_to", "is_for_ours"),
    [
        ("all", True),
        ("queues", True),
        ("quorum_queues", True),
        ("classic_queues", False),
        ("streams", False),
        ("exchanges", False),
    ],
)
def test_a_policy_for_something_else_is_none_of_ours(apply_to: str, *, is_for_ours: bool) -> None:
    assert bool(found(policy({"expires": 1000}, apply_to=apply_to))) is is_for_ours


def test_what_the_broker_says_counts_more_than_a_pattern() -> None:
    # RabbitMQ passes over a policy with a key that a quorum queue does not know.
    classic = policy({"queue-mode": "lazy", "message-ttl": 1000}, name="classic", priority=9)
    expiring = policy({"expires": 1000}, name="expiring")
    told: dict[str, Told] = {queue.name: {POLICY: None} for queue in QUEUES}
    assert found(classic, expiring, told=told) == []
    (flaw,) = found(classic, expiring, told={**told, BULK: {POLICY: "expiring"}})
    assert [(effect.queue, effect.key) for effect in flaw.effects] == [(BULK, "expires")]


def test_a_kind_of_which_the_broker_says_nothing_goes_by_its_pattern() -> None:
    operators = policy({"expires": 1000}, r"\.batches$", kind=OPERATOR_POLICY)
    told: dict[str, Told] = {queue.name: {POLICY: None} for queue in QUEUES}
    assert {effect.queue for flaw in found(operators, told=told) for effect in flaw.effects} == {BATCHES, BATCH_LETTERS}


@pytest.mark.parametrize("queue", sorted(ALL - {LETTERS, UNKNOWN, UNMATCHED}))
def test_nothing_may_be_accepted_while_a_queue_with_accepted_messages_may_lose_them(queue: str) -> None:
    (flaw,) = found(policy({"message-ttl": 1}, f"^{queue}$"))
    assert flaw.may_lose
    assert flaw.sentence == f"policy p (pattern ^{queue}$) sets message-ttl=1 on {queue}: accepted messages may be lost"


@pytest.mark.parametrize("queue", [LETTERS, UNKNOWN, UNMATCHED])
def test_letters_of_numbers_that_have_ended_hold_up_no_batch(queue: str) -> None:
    (flaw,) = found(policy({"expires": 1000, "max-length": 10, "delivery-limit": 1}, f"^{queue}$"))
    assert len(flaw.effects) == 3
    assert not flaw.may_lose
    assert flaw.sentence.endswith(f"on {queue}: dead letters may be lost or moved")


def test_where_expired_letters_go_holds_up_no_batch() -> None:
    (flaw,) = found(policy({"dead-letter-exchange": "archive", "dead-letter-routing-key": "x"}, "dead-letter"))
    assert {effect.queue for effect in flaw.effects} == {LETTERS, BATCH_LETTERS}
    assert not flaw.may_lose


def test_the_commands_are_for_the_shell() -> None:
    (flaw,) = flaws("a b/c", QUEUES, [policy({"expires": 1000}, name="it's", priority=7)], {})
    assert flaw.command == """rabbitmqctl clear_policy -p 'a b/c' 'it'"'"'s'"""
    assert flaw.shield == (
        r"rabbitmqctl set_policy -p 'a b/c' --priority 8 --apply-to queues sms-batch '^sms\.' "
        """'{"delivery-limit":1000000}'"""
    )
    (flaw,) = found(policy({"expires": 1000}, kind=OPERATOR_POLICY))
    assert flaw.command == "rabbitmqctl clear_operator_policy -p / p"
    assert flaw.shield.startswith("rabbitmqctl set_operator_policy -p / --priority 1 ")
    assert flaw.command in flaw.remedy
    assert flaw.shield in flaw.remedy


def test_the_queues_of_one_change_are_said_together() -> None:
    (flaw,) = found(policy({"message-ttl": 7, "expires": 9}, r"^sms\.outbound\."))
    assert flaw.sentence == (
        r"policy p (pattern ^sms\.outbound\.) sets expires=9 on sms.outbound.priority, sms.outbound.bulk; "
        "message-ttl=7 on sms.outbound.priority, sms.outbound.bulk: accepted messages may be lost"
    )


def test_no_policy_is_no_flaw() -> None:
    assert found() == []
