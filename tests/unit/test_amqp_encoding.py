"""Frames that are encoded many at a time are those that pika would send one by one."""

from types import SimpleNamespace
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.frame import Body, Header, Method

from shared.amqp.encoding import send_acks, send_publishes
from shared.domain.outgoing import Outgoing

FRAME_MAX = 4096
MESSAGE = Outgoing(
    "sms.outbound", "bulk", b'{"row": 0}', "sms.outbound.v1", "batch:0", "batch", 1_700_000_000, {}, None
)


class Wire:
    """A channel that keeps what is written to it."""

    def __init__(self) -> None:
        self.channel_number, self.written = 1, list[bytes]()
        self.connection = SimpleNamespace(
            params=SimpleNamespace(frame_max=FRAME_MAX), _output_marshaled_frames=self.written.extend
        )


def by_pika(message: Outgoing) -> bytes:
    properties = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        type=message.type,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        timestamp=message.timestamp_s,
        app_id="sms-test",
        headers=dict(message.headers) or None,
        expiration=None if message.expiration_ms is None else str(message.expiration_ms),
    )
    publish = pika.spec.Basic.Publish(exchange=message.exchange, routing_key=message.routing_key, mandatory=True)
    most = FRAME_MAX - 8
    parts = [message.body[start : start + most] for start in range(0, len(message.body), most)]
    frames: list[Any] = [
        Method(1, publish),
        Header(1, len(message.body), properties),
        *(Body(1, part) for part in parts),
    ]
    return b"".join(frame.marshal() for frame in frames)


def sent(messages: list[Outgoing]) -> list[bytes]:
    wire: Any = Wire()
    send_publishes(wire, messages, "sms-test")
    written: list[bytes] = wire.written
    return written


short_strings = st.text(max_size=50)
outgoings = st.builds(
    Outgoing,
    exchange=short_strings,
    routing_key=short_strings,
    body=st.binary(max_size=3 * FRAME_MAX),
    type=short_strings,
    message_id=short_strings,
    correlation_id=short_strings,
    timestamp_s=st.integers(0, 2**40),
    headers=st.dictionaries(short_strings, short_strings | st.integers(-(2**31), 2**31 - 1), max_size=3),
    expiration_ms=st.none() | st.integers(0, 2**31),
)


@given(st.lists(outgoings, max_size=5))
def test_published_frames_are_pikas(messages: list[Outgoing]) -> None:
    assert b"".join(sent(messages)) == b"".join(map(by_pika, messages))


def test_messages_that_share_all_but_their_id_keep_their_own_ids_and_bodies() -> None:
    messages = [MESSAGE._replace(message_id=f"batch:{row}", body=b'{"row": %d}' % row) for row in range(1000)]
    assert b"".join(sent(messages)) == b"".join(map(by_pika, messages))


def test_a_thousand_messages_are_a_few_writes() -> None:
    assert len(sent([MESSAGE] * 1000)) <= 10


def test_an_id_that_amqp_cannot_carry_sends_nothing_of_its_neighbours() -> None:
    wire: Any = Wire()
    with pytest.raises(ValueError, match="range"):
        send_publishes(wire, [MESSAGE, MESSAGE._replace(message_id="x" * 256)], "sms-test")
    assert wire.written == []


def test_ack_frames_are_pikas_in_one_write() -> None:
    wire: Any = Wire()
    send_acks(wire, [(7, True), (9, False)])
    assert wire.written == [b"".join(Method(1, pika.spec.Basic.Ack(*ack)).marshal() for ack in ((7, True), (9, False)))]
