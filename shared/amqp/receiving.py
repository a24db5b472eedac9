"""Reading plain deliveries out of a connection's bytes, three frames at a time; pure."""

import struct
from enum import Enum
from typing import NamedTuple

import pika

# AMQP 0-9-1, 2.3.5: type, channel and size before a frame's payload, an octet behind it. A method's payload begins with
# class and method (4.2.4), a content header's with class, weight, the body's size and flags (2.3.5.2).
_FRAME, _METHOD, _HEADER = struct.Struct(">BHI"), struct.Struct(">BHII"), struct.Struct(">BHIIQH")
_TAG_AND_FLAG = struct.Struct(">QB")
_FRAME_START, _END = _FRAME.size, pika.spec.FRAME_END
_IS_METHOD, _IS_HEADER, _IS_BODY = pika.spec.FRAME_METHOD, pika.spec.FRAME_HEADER, pika.spec.FRAME_BODY
_DELIVER = pika.spec.Basic.Deliver.INDEX
_BASIC = pika.spec.BasicProperties
# With a table of headers, or flags that go on, a message is pika's to read.
_NOT_PLAIN = _BASIC.FLAG_HEADERS | 1


class Arrived(NamedTuple):
    """What came to a consumer."""

    delivery_tag: int
    is_redelivered: bool
    type: str | None
    message_id: str | None
    body: bytes


class Read(NamedTuple):
    """A delivery that was read, for whom it is, and where the next frame begins."""

    channel: int
    consumer_tag: bytes
    arrived: Arrived
    end: int


class Nothing(Enum):
    """Why no delivery was read."""

    OTHER = "other"  # something that is not for us to read
    MORE = "more"  # a delivery that has not arrived as a whole


def read_delivery(buffer: bytes, start: int) -> Read | Nothing:
    """The delivery whose frames begin at `start`."""
    there = len(buffer)
    if there < start + _METHOD.size:
        return Nothing.OTHER
    kind, channel, size, index = _METHOD.unpack_from(buffer, start)
    if kind != _IS_METHOD or index != _DELIVER:
        return Nothing.OTHER
    header = start + _FRAME_START + size + 1
    if there < header + _HEADER.size:
        return Nothing.MORE
    kind, header_channel, size, _class_and_weight, body_size, flags = _HEADER.unpack_from(buffer, header)
    body = header + _FRAME_START + size + 1
    if kind != _IS_HEADER or header_channel != channel or flags & _NOT_PLAIN or not body_size:
        return Nothing.OTHER
    end = body + _FRAME_START + body_size + 1
    if there < end:
        return Nothing.MORE
    if _FRAME.unpack_from(buffer, body) != (_IS_BODY, channel, body_size):
        return Nothing.OTHER  # a body in several frames
    if not buffer[header - 1] == buffer[body - 1] == buffer[end - 1] == _END:
        return Nothing.OTHER
    tag_start = start + _METHOD.size + 1
    tag_end = tag_start + buffer[tag_start - 1]
    delivery_tag, redelivered = _TAG_AND_FLAG.unpack_from(buffer, tag_end)
    message_id, message_type = _id_and_type(buffer, header + _HEADER.size, flags)
    return Read(
        channel,
        buffer[tag_start:tag_end],
        Arrived(delivery_tag, bool(redelivered & 1), message_type, message_id, buffer[body + _FRAME_START : end - 1]),
        end,
    )


_SHORT_STRINGS_BEFORE_MODE = (_BASIC.FLAG_CONTENT_TYPE, _BASIC.FLAG_CONTENT_ENCODING)
_OCTETS = (_BASIC.FLAG_DELIVERY_MODE, _BASIC.FLAG_PRIORITY)
_SHORT_STRINGS_BEFORE_ID = (_BASIC.FLAG_CORRELATION_ID, _BASIC.FLAG_REPLY_TO, _BASIC.FLAG_EXPIRATION)


def _id_and_type(buffer: bytes, at: int, flags: int) -> tuple[str | None, str | None]:
    """The two properties that a consumer needs; the others lie between them in this order."""
    for flag in _SHORT_STRINGS_BEFORE_MODE:
        if flags & flag:
            at += 1 + buffer[at]
    for flag in _OCTETS:
        if flags & flag:
            at += 1
    for flag in _SHORT_STRINGS_BEFORE_ID:
        if flags & flag:
            at += 1 + buffer[at]
    message_id = message_type = None
    if flags & _BASIC.FLAG_MESSAGE_ID:
        message_id = _text(buffer, at)
        at += 1 + buffer[at]
    if flags & _BASIC.FLAG_TIMESTAMP:
        at += 8
    if flags & _BASIC.FLAG_TYPE:
        message_type = _text(buffer, at)
    return message_id, message_type


def _text(buffer: bytes, at: int) -> str | None:
    """A short string (4.2.5.3): its length in one octet; None where it is no UTF-8."""
    try:
        return buffer[at + 1 : at + 1 + buffer[at]].decode()
    except UnicodeDecodeError:
        return None
