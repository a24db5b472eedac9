"""Which deliveries are handled alone, and which are poison."""

import pytest

from services.sender.suspects import partition_suspects, poisoned
from shared.amqp.messages import Delivery
from shared.domain.states import State
from shared.topology import CRASH_LIMIT


def delivery(returns: int, *, again: bool = True, **counts: int) -> Delivery:
    headers = {"x-delivery-count": returns, **{name.replace("_", "-"): count for name, count in counts.items()}}
    return Delivery(b"{}", None, None, "sms.outbound.bulk", lambda: None, headers, again)


def test_what_came_back_several_times_is_a_suspect() -> None:
    deliveries = [delivery(returns) for returns in (0, 1, 2, 3, 17)]
    assert partition_suspects(deliveries) == (deliveries[:3], deliveries[3:])


def test_it_is_judged_before_the_broker_takes_it_away() -> None:
    assert not delivery(CRASH_LIMIT - 3).is_poison
    assert delivery(CRASH_LIMIT - 2).is_poison


@pytest.mark.parametrize(
    ("moved", "returns"),
    [
        (delivery(25, again=False), 0),  # either version
        (delivery(25, again=False, x_acquired_count=25), 0),
        (delivery(1), 1),  # 3.10
        (delivery(25, x_acquired_count=2), 2),  # 4.3, after somebody looked at it and put it back
        (delivery(1, x_acquired_count=3), 1),
    ],
)
def test_what_a_moved_message_counted_in_its_old_queue_says_nothing_of_this_one(moved: Delivery, returns: int) -> None:
    assert moved.returns == returns


def test_its_number_fails_with_a_reason() -> None:
    outcome = poisoned(delivery(18))
    assert (outcome.state, outcome.code) == (State.FAILED, "crashes_sender")
    assert "18 times" in (outcome.reason or "")
