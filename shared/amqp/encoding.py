"""Many AMQP frames as few writes: pika makes one write, and so one system call, of every frame."""

import struct
from collections.abc import Iterator, Sequence
from secrets import token_hex
from typing import NamedTuple

import pika
from pika.channel import Channel
from pika.frame import Method

from shared.amqp.pika_internals import write
from shared.domain.outgoing import Outgoing

_WRITE_BYTES = 64 * 1024
_ID_MARK = token_hex(16)
"""Stands for an id while the rest is encoded; nobody who writes a message's type can know it."""
# AMQP 0-9-1, 2.3.5: type, channel and size before a frame's payload, an octet behind it; 2.3.5.2: a header's payload
# begins with class, weight and the body's size.
_HEADER_START, _BODY_START, _END = struct.Struct(">BHIHxxQ"), struct.Struct(">BHI"), bytes([pika.spec.FRAME_END])
_HEADER_FIXED_BYTES, _FRAME_BYTES = 12, 8


class _Around(NamedTuple):
    """A message's frames around its id and before its body; `header_bytes` is the header's size without the id."""

    method: bytes
    header_bytes: int
    before_id: bytes
    behind_id: bytes


def send_publishes(channel: Channel, messages: Sequence[Outgoing], app_id: str) -> None:
    """Publish on an open channel, persistent and `mandatory`, in order; as `basic_publish` of each would."""
    write(channel, _joined(_publishes(channel, messages, app_id)))


def send_acks(channel: Channel, tags: Sequence[tuple[int, bool]]) -> None:
    """Ack on an open channel; each tag with whether it stands for all before it too."""
    write(channel, _joined(_frame(channel, pika.spec.Basic.Ack(tag, multiple)) for tag, multiple in tags))


def _publishes(channel: Channel, messages: Sequence[Outgoing], app_id: str) -> Iterator[bytes]:
    """The frames of each message: what the messages of one batch share is encoded once."""
    known: dict[tuple[object, ...], _Around] = {}
    number, most = channel.channel_number, channel.connection.params.frame_max - _FRAME_BYTES
    for message in messages:
        exchange, routing_key, body, type_, message_id, correlation_id, timestamp_s, headers, expiration_ms = message
        shared = exchange, routing_key, type_, correlation_id, timestamp_s, expiration_ms
        if headers or (around := known.get(shared)) is None:
            around = _around(channel, message, app_id)
            if not headers:
                known[shared] = around
        identity = message_id.encode()
        size = around.header_bytes + len(identity)
        yield b"".join(
            (
                around.method,
                _HEADER_START.pack(pika.spec.FRAME_HEADER, number, size, pika.spec.BasicProperties.INDEX, len(body)),
                around.before_id,
                # A short string (4.2.5.3): its length in one octet, 255 at the most, as bytes() sees to.
                bytes((len(identity),)),
                identity,
                around.behind_id,
                *_bodies(number, most, body),
            )
        )


def _publish_method(channel: Channel, message: Outgoing) -> bytes:
    publish = pika.spec.Basic.Publish(exchange=message.exchange, routing_key=message.routing_key, mandatory=True)
    return _frame(channel, publish)


def _frame(channel: Channel, method: pika.amqp_object.Method) -> bytes:
    marshalled: bytes = Method(channel.channel_number, method).marshal()
    return marshalled


def _around(channel: Channel, message: Outgoing, app_id: str) -> _Around:
    properties = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        type=message.type,
        message_id=_ID_MARK,
        correlation_id=message.correlation_id,
        timestamp=message.timestamp_s,
        app_id=app_id,
        headers=dict(message.headers) or None,
        expiration=None if message.expiration_ms is None else str(message.expiration_ms),
    )
    before, _mark, behind = b"".join(properties.encode()).partition(bytes([len(_ID_MARK)]) + _ID_MARK.encode())
    size = _HEADER_FIXED_BYTES + len(before) + 1 + len(behind)
    return _Around(_publish_method(channel, message), size, before, behind + _END)


def _bodies(channel_number: int, most: int, body: bytes) -> Sequence[bytes]:
    """The body in frames of the size that was agreed on, each in parts."""
    if 0 < len(body) <= most:
        return _BODY_START.pack(pika.spec.FRAME_BODY, channel_number, len(body)), body, _END
    parts = (body[start : start + most] for start in range(0, len(body), most))
    return [_BODY_START.pack(pika.spec.FRAME_BODY, channel_number, len(part)) + part + _END for part in parts]


def _joined(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Frames in chunks that one write takes."""
    waiting: list[bytes] = []
    size = 0
    for frame in frames:
        waiting.append(frame)
        size += len(frame)
        if size >= _WRITE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
