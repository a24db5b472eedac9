"""What has to exist on the broker, and how a difference from it is told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.amqp.declare import mismatch
from shared.topology import (
    DEAD_LETTER,
    OUTBOUND,
    RECEIPTS,
    RETRY,
    DeadLetterKey,
    Lane,
    Queue,
    Topology,
    build_topology,
    outbound_queue,
    retry_key,
    retry_queue,
    tier_name,
)

TIERS_S = (5, 30, 120, 600, 3600)
WEEK_MS = 604_800_000

tiers = st.lists(st.integers(1, 10_000_000), min_size=1, max_size=8, unique=True).map(
    lambda found: [delay_ms / 1000 for delay_ms in sorted(found)]
)


def routed(topology: Topology, exchange: str, key: str) -> list[str]:
    return [binding.queue for binding in topology.bindings if (binding.exchange, binding.key) == (exchange, key)]


def work_arguments(dead_letter_key: str) -> dict[str, str | int]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20,
        "x-dead-letter-exchange": "sms.dead-letter",
        "x-dead-letter-routing-key": dead_letter_key,
        "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once",
    }


def test_the_queues_and_exchanges_are_those_of_the_contract() -> None:
    topology = build_topology(TIERS_S)
    assert [exchange.name for exchange in topology.exchanges] == [
        "sms.batches",
        "sms.outbound",
        "sms.retry",
        "sms.dead-letter",
        "sms.receipts",
    ]
    assert {queue.name for queue in topology.queues} == {
        "sms.batches",
        "sms.outbound.priority",
        "sms.outbound.bulk",
        "sms.retry.5s",
        "sms.retry.30s",
        "sms.retry.2m",
        "sms.retry.10m",
        "sms.retry.1h",
        "sms.dead-letter",
        "sms.dead-letter.batches",
        "sms.unknown",
        "sms.receipts",
        "sms.receipts.later",
        "sms.receipts.unmatched",
        "sms.inbound",
    }


def test_the_queue_of_batches_dead_letters_what_crashes_its_consumers() -> None:
    assert build_topology(TIERS_S).queue("sms.batches").arguments == work_arguments("batches")


@pytest.mark.parametrize("lane", ["priority", "bulk"])
def test_an_outbound_queue_is_bounded_in_length_too(lane: str) -> None:
    arguments = dict(build_topology(TIERS_S).queue(f"sms.outbound.{lane}").arguments)
    assert int(arguments.pop("x-max-length")) > 0
    assert arguments == work_arguments("outbound")


def test_a_tier_has_a_ttl_and_neither_a_length_nor_a_delivery_limit() -> None:
    assert build_topology(TIERS_S).queue("sms.retry.2m").arguments == {
        "x-queue-type": "quorum",
        "x-message-ttl": 120_000,
        "x-dead-letter-exchange": "sms.outbound",
        "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once",
    }


@pytest.mark.parametrize(
    "name", ["sms.dead-letter", "sms.dead-letter.batches", "sms.unknown", "sms.receipts.unmatched"]
)
def test_a_queue_that_people_read_keeps_a_message_for_a_week_however_often_they_peek(name: str) -> None:
    assert build_topology(TIERS_S).queue(name).arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 1_000_000,
        "x-message-ttl": WEEK_MS,
    }


@pytest.mark.parametrize("queue", build_topology(TIERS_S).queues, ids=lambda queue: queue.name)
def test_at_least_once_dead_lettering_comes_with_reject_publish(queue: Queue) -> None:
    # Without it RabbitMQ silently dead-letters at most once.
    assert ("x-dead-letter-strategy" in queue.arguments) == ("x-dead-letter-exchange" in queue.arguments)
    assert ("x-dead-letter-strategy" in queue.arguments) == (queue.arguments.get("x-overflow") == "reject-publish")


def test_each_lane_is_the_key_of_its_own_queue() -> None:
    topology = build_topology(TIERS_S)
    assert {lane: routed(topology, OUTBOUND, lane) for lane in Lane} == {
        Lane.PRIORITY: ["sms.outbound.priority"],
        Lane.BULK: ["sms.outbound.bulk"],
    }


def test_each_dead_letter_key_leads_to_its_own_queue() -> None:
    topology = build_topology(TIERS_S)
    assert {key.value: routed(topology, DEAD_LETTER, key) for key in DeadLetterKey} == {
        "outbound": ["sms.dead-letter"],
        "batches": ["sms.dead-letter.batches"],
        "unknown": ["sms.unknown"],
        "receipts": ["sms.receipts.unmatched"],
    }


def test_an_early_receipt_comes_again_from_where_it_waits() -> None:
    topology = build_topology(TIERS_S)
    later = topology.queue("sms.receipts.later").arguments
    assert routed(topology, RECEIPTS, "sms.receipts.later") == ["sms.receipts.later"]
    assert routed(topology, str(later["x-dead-letter-exchange"]), str(later["x-dead-letter-routing-key"])) == [RECEIPTS]
    assert "x-delivery-limit" not in later


@settings(deadline=None)
@given(tiers_s=tiers)
def test_a_retry_waits_in_its_tier_alone_and_comes_back_to_its_lane_alone(tiers_s: list[float]) -> None:
    topology = build_topology(tiers_s)
    for delay_s in tiers_s:
        for lane in Lane:
            key = retry_key(delay_s, lane)
            assert routed(topology, RETRY, key) == [retry_queue(delay_s)]
            tier = topology.queue(retry_queue(delay_s)).arguments
            # The broker keeps the routing key of an expired message where the queue names none.
            assert "x-dead-letter-routing-key" not in tier
            assert routed(topology, str(tier["x-dead-letter-exchange"]), key) == [outbound_queue(lane)]


@settings(deadline=None)
@given(tiers_s=tiers)
def test_every_binding_joins_things_that_are_declared(tiers_s: list[float]) -> None:
    topology = build_topology(tiers_s)
    exchanges = {exchange.name for exchange in topology.exchanges}
    queues = [queue.name for queue in topology.queues]
    assert len(queues) == len(set(queues))
    assert {binding.exchange for binding in topology.bindings} <= exchanges
    assert {binding.queue for binding in topology.bindings} == set(queues)


def test_asking_for_a_queue_that_there_is_not_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        build_topology(TIERS_S).queue("sms.retry.7s")


@pytest.mark.parametrize(
    ("delay_s", "name"),
    [(5, "5s"), (30, "30s"), (90, "90s"), (120, "2m"), (600, "10m"), (3600, "1h"), (86_400, "24h"), (0.2, "200ms")],
)
def test_a_tier_is_named_in_its_largest_whole_unit(delay_s: float, name: str) -> None:
    assert tier_name(delay_s) == name


QUEUE_DIFFERS = "PRECONDITION_FAILED - inequivalent arg '{}' for queue '{}' in vhost '/': {}"


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            QUEUE_DIFFERS.format("x-message-ttl", "sms.retry.5s", "received '6000' but current is '5000'"),
            "queue sms.retry.5s on the broker has x-message-ttl = 5000, it should be 6000",
        ),
        (
            QUEUE_DIFFERS.format(
                "x-delivery-limit", "sms.batches", "received the value '6' of type 'signedint' but current is none"
            ),
            "queue sms.batches on the broker has x-delivery-limit = not set, it should be 6",
        ),
        (
            QUEUE_DIFFERS.format(
                "x-dead-letter-exchange",
                "sms.retry.5s",
                "received none but current is the value 'sms.outbound' of type 'longstr'",
            ),
            "queue sms.retry.5s on the broker has x-dead-letter-exchange = sms.outbound, it should be not set",
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'sms.retry' in vhost 'it''s':"
            " received 'direct' but current is 'fanout'",
            "exchange sms.retry on the broker has type = fanout, it should be direct",
        ),
        (
            QUEUE_DIFFERS.format("x-overflow", "sms.batches", "received '' but current is 'drop-head'"),
            "queue sms.batches on the broker has x-overflow = drop-head, it should be ",
        ),
    ],
)
def test_a_difference_is_told_as_the_argument_its_value_there_and_the_value_wanted(reply: str, sentence: str) -> None:
    assert mismatch(reply) == sentence


def test_a_refusal_of_another_kind_is_told_in_the_brokers_words() -> None:
    reply = "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_too_large,4294967296}"
    assert mismatch(reply) == reply
