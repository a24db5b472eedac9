"""Which deliveries are handled alone, and which are poison."""

from services.sender.suspects import poisoned, told_apart
from shared.amqp.messages import Delivery
from shared.states import State
from shared.topology import CRASH_LIMIT


def delivery(returns: int) -> Delivery:
    return Delivery(b"{}", None, None, "sms.outbound.bulk", lambda: None, {"x-delivery-count": returns})


def test_what_came_back_several_times_is_a_suspect() -> None:
    deliveries = [delivery(returns) for returns in (0, 1, 2, 3, 17)]
    assert told_apart(deliveries) == (deliveries[:3], deliveries[3:])


def test_it_is_judged_before_the_broker_takes_it_away() -> None:
    assert not delivery(CRASH_LIMIT - 3).is_poison
    assert delivery(CRASH_LIMIT - 2).is_poison


def test_its_number_fails_with_a_reason() -> None:
    outcome = poisoned(delivery(18))
    assert (outcome.state, outcome.code) == (State.FAILED, "crashes_sender")
    assert "18 times" in (outcome.reason or "")
