"""Many AMQP frames as few writes: pika makes one write, and so one system call, of every frame."""

import struct
from collections.abc import Iterator, Sequence
from secrets import token_hex

import pika
from pika.channel import Channel
from pika.frame import Method

from shared.amqp.messages import Outgoing

_WRITE_BYTES = 64 * 1024
_ID_MARK = token_hex(16)
"""Stands for an id while the rest is encoded; nobody who writes a message's type can know it."""
# AMQP 0-9-1, 2.3.5: type, channel and size before a frame's payload, an octet behind it; 2.3.5.2: a header's payload
# begins with class, weight and the body's size.
_HEADER_START, _BODY_START, _END = struct.Struct(">BHIHxxQ"), struct.Struct(">BHI"), bytes([pika.spec.FRAME_END])
_HEADER_FIXED_BYTES, _FRAME_BYTES = 12, 8


def send_publishes(channel: Channel, messages: Sequence[Outgoing], app_id: str) -> None:
    """Publish on an open channel, persistent and `mandatory`, in order; as `basic_publish` of each would."""
    _write(channel, _joined(_publishes(channel, messages, app_id)))


def send_acks(channel: Channel, tags: Sequence[tuple[int, bool]]) -> None:
    """Ack on an open channel; each tag with whether it stands for all before it too."""
    _write(channel, _joined(_frame(channel, pika.spec.Basic.Ack(tag, multiple)) for tag, multiple in tags))


def _publishes(channel: Channel, messages: Sequence[Outgoing], app_id: str) -> Iterator[bytes]:
    """The frames of each message: what the messages of one batch share is encoded once."""
    methods: dict[tuple[str, str], bytes] = {}
    properties: dict[tuple[object, ...], tuple[bytes, bytes]] = {}
    for message in messages:
        if (method := methods.get((message.exchange, message.routing_key))) is None:
            method = methods[message.exchange, message.routing_key] = _publish_method(channel, message)
        shared = (message.type, message.correlation_id, message.timestamp_s, message.expiration_ms)
        if message.headers or (around_id := properties.get(shared)) is None:
            around_id = _around_id(message, app_id)
            if not message.headers:
                properties[shared] = around_id
        yield b"".join((method, _header(channel, message, around_id), *_bodies(channel, message.body)))


def _publish_method(channel: Channel, message: Outgoing) -> bytes:
    publish = pika.spec.Basic.Publish(exchange=message.exchange, routing_key=message.routing_key, mandatory=True)
    return _frame(channel, publish)


def _frame(channel: Channel, method: pika.amqp_object.Method) -> bytes:
    marshalled: bytes = Method(channel.channel_number, method).marshal()
    return marshalled


def _around_id(message: Outgoing, app_id: str) -> tuple[bytes, bytes]:
    """The encoded properties, without the message's id, before and behind the place where it belongs."""
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
    return before, behind


def _header(channel: Channel, message: Outgoing, around_id: tuple[bytes, bytes]) -> bytes:
    before, behind = around_id
    message_id = message.message_id.encode()
    size = _HEADER_FIXED_BYTES + len(before) + 1 + len(message_id) + len(behind)
    start = _HEADER_START.pack(
        pika.spec.FRAME_HEADER, channel.channel_number, size, pika.spec.BasicProperties.INDEX, len(message.body)
    )
    # A short string (4.2.5.3): its length in one octet, 255 at the most, as bytes() sees to.
    return b"".join((start, before, bytes((len(message_id),)), message_id, behind, _END))


def _bodies(channel: Channel, body: bytes) -> Iterator[bytes]:
    """The body in frames of the size that was agreed on."""
    most = channel.connection.params.frame_max - _FRAME_BYTES
    for start in range(0, len(body), most):
        part = body[start : start + most]
        yield _BODY_START.pack(pika.spec.FRAME_BODY, channel.channel_number, len(part)) + part + _END


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


def _write(channel: Channel, chunks: Iterator[bytes]) -> None:
    # The one place that reaches past pika's public methods, none of which takes more than one message.
    channel.connection._output_marshaled_frames(list(chunks))
