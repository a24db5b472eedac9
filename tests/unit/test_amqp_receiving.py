"""Deliveries that are read past pika are those that pika would have read."""

from types import SimpleNamespace
from typing import Any

import pika
from hypothesis import given, settings
from hypothesis import strategies as st
from pika.callback import CallbackManager
from pika.channel import Channel
from pika.frame import Body, Header, Heartbeat, Method

from shared.amqp.pika_internals import Connection, leave_deliveries, take_deliveries
from shared.amqp.receiving import Arrived

TAG = "ctag1.0123456789abcdef"
FRAME_MAX = 4096


class Wire(Connection):
    """A connection without a socket, with one channel and one consumer, whose deliveries it keeps: what pika handed
    out, and what was read past it."""

    def __init__(self) -> None:
        self.takers, self._frame_buffer, self.bytes_received, self.frames_received = {}, b"", 0, 0
        self.callbacks, self._heartbeat_checker = CallbackManager(), SimpleNamespace(received=lambda: None)
        self.channel = Channel(self, 1, lambda _channel: None)
        self._channels = {1: self.channel}
        self.by_pika: list[Arrived] = []
        self.past_pika: list[Arrived] = []
        self.in_order: list[Arrived] = []
        self.channel._consumers[TAG] = self._called_back

    def _called_back(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        arrived = Arrived(method.delivery_tag, method.redelivered, properties.type, properties.message_id, body)
        self.by_pika.append(arrived)
        self.in_order.append(arrived)

    def taken(self, arrived: Arrived) -> None:
        self.past_pika.append(arrived)
        self.in_order.append(arrived)

    def feed(self, stream: bytes, sizes: list[int]) -> "Wire":
        """Hand it the stream in parts of these sizes, over and over."""
        at = turn = 0
        while at < len(stream):
            size = sizes[turn % len(sizes)]
            self._on_data_available(stream[at : at + size])
            at, turn = at + size, turn + 1
        return self


def encoded(tag: int, message: tuple[bytes, bool, dict[str, Any]], consumer: str = TAG) -> bytes:
    body, redelivered, properties = message
    deliver = pika.spec.Basic.Deliver(
        consumer_tag=consumer, delivery_tag=tag, redelivered=redelivered, exchange="sms.outbound", routing_key="bulk"
    )
    most = FRAME_MAX - 8
    frames: list[Any] = [Method(1, deliver), Header(1, len(body), pika.BasicProperties(**properties))]
    frames += [Body(1, body[start : start + most]) for start in range(0, len(body), most)]
    return b"".join(frame.marshal() for frame in frames)


words = st.text(max_size=30)
properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": words,
        "content_encoding": words,
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 9),
        "correlation_id": words,
        "reply_to": words,
        "expiration": st.just("1000"),
        "message_id": words,
        "timestamp": st.integers(0, 2**40),
        "type": words,
        "user_id": words,
        "app_id": words,
        "headers": st.dictionaries(words, st.integers(0, 100), max_size=2),
    },
)
messages = st.tuples(st.binary(max_size=60) | st.just(b"x" * (FRAME_MAX + 10)), st.booleans(), properties)
others = st.sampled_from([Heartbeat().marshal(), Method(1, pika.spec.Basic.Ack(1, multiple=True)).marshal()])


@settings(deadline=None, max_examples=300)
@given(st.lists(messages | others, max_size=8), st.lists(st.integers(1, 300), min_size=1, max_size=5))
def test_whatever_comes_in_whatever_parts_is_what_pika_makes_of_it(items: list[Any], sizes: list[int]) -> None:
    parts = [item if isinstance(item, bytes) else encoded(tag, item) for tag, item in enumerate(items, 1)]
    stream = b"".join(parts)
    usual, ours = Wire(), Wire()
    take_deliveries(ours.channel, TAG, ours.taken)
    usual.feed(stream, sizes)
    ours.feed(stream, sizes)
    assert ours.in_order == usual.by_pika
    assert (ours.bytes_received, ours.frames_received) == (usual.bytes_received, usual.frames_received)
    assert ours._frame_buffer == b""


PLAIN = (b'{"row": 1}', False, {"type": "sms.outbound.v1", "message_id": "batch:1", "content_type": "application/json"})


def test_plain_deliveries_go_past_pika_and_those_with_headers_do_not() -> None:
    wire = Wire()
    take_deliveries(wire.channel, TAG, wire.taken)
    with_headers = (b"{}", True, {"headers": {"x-delivery-count": 3}})
    wire.feed(encoded(1, PLAIN) + encoded(2, with_headers) + encoded(3, PLAIN), [100])
    assert [arrived.delivery_tag for arrived in wire.past_pika] == [1, 3]
    assert [arrived.delivery_tag for arrived in wire.by_pika] == [2]


def test_what_comes_for_another_consumer_or_after_the_end_is_left_to_pika() -> None:
    wire = Wire()
    take_deliveries(wire.channel, "another", wire.taken)
    wire.feed(encoded(1, PLAIN), [1000])
    take_deliveries(wire.channel, TAG, wire.taken)
    leave_deliveries(wire.channel)
    wire.feed(encoded(2, PLAIN), [1000])
    assert [arrived.delivery_tag for arrived in wire.by_pika] == [1, 2]
    assert wire.past_pika == []


def test_a_type_that_is_no_text_is_none() -> None:
    wire = Wire()
    take_deliveries(wire.channel, TAG, wire.taken)
    stream = encoded(1, (b"{}", False, {"type": "abc", "message_id": "id"})).replace(b"\x03abc", b"\x03\xff\xfe\xfd")
    wire.feed(stream, [1000])
    assert [(arrived.type, arrived.message_id) for arrived in wire.past_pika] == [(None, "id")]
