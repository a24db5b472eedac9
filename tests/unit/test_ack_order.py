"""Which acks stand for which deliveries."""

import random

from hypothesis import given
from hypothesis import strategies as st

from shared.amqp.acking import AckOrder


class Broker:
    """What RabbitMQ makes of acks on one channel: a tag that is not outstanding closes it."""

    def __init__(self, deliveries: int) -> None:
        self.outstanding = set(range(1, deliveries + 1))

    def take(self, acks: list[tuple[int, bool]]) -> set[int]:
        acked = set()
        for tag, multiple in acks:
            assert tag in self.outstanding, f"unknown delivery tag {tag}"
            covered = {each for each in self.outstanding if each <= tag} if multiple else {tag}
            self.outstanding -= covered
            acked |= covered
        return acked


@given(st.integers(1, 60), st.integers(1, 10), st.randoms(use_true_random=False))
def test_whatever_the_order_each_delivery_is_acked_when_it_is_settled_and_never_before(
    deliveries: int, most_at_once: int, order: random.Random
) -> None:
    tags = list(range(1, deliveries + 1))
    order.shuffle(tags)
    broker, acks = Broker(deliveries), AckOrder()
    while tags:
        settled, tags = tags[:most_at_once], tags[most_at_once:]
        assert broker.take(acks.acks(settled)) == set(settled)
    assert broker.outstanding == set()


def test_deliveries_settled_in_their_order_need_one_ack() -> None:
    acks = AckOrder()
    assert acks.acks(range(1, 101)) == [(100, True)]
    assert acks.acks(range(101, 201)) == [(200, True)]


def test_one_that_is_still_in_work_holds_up_nobody_and_is_not_acked_by_others() -> None:
    acks = AckOrder()
    assert acks.acks([2, 3]) == [(2, False), (3, False)]
    assert acks.acks([4, 1]) == [(4, True)]
    assert acks.acks([5]) == [(5, True)]
