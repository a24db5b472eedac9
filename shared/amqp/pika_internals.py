"""All that reaches past pika's public methods: deliveries that are read by us, and many frames in one write.

pika looks up callbacks, channel and assembler anew for every frame and makes an object of every property, which for
small messages is most of what a consumer costs; and none of its methods takes more than one message. Whatever is no
plain delivery goes pika's way. `RELIED_ON` is what a new version of pika must still have, which a test sees.
"""

from collections.abc import Callable, Iterable
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

from shared.amqp.receiving import Arrived, Nothing, read_delivery

RELIED_ON = (
    "_on_data_available",
    "_output_marshaled_frames",
    "_process_frame",
    "_read_frame",
    "_trim_frame_buffer",
)
"""Methods of pika's connection; beside them its attributes `_frame_buffer` and `frames_received`."""


class Connection(AsyncioConnection):  # type: ignore[misc]
    """pika's connection on an event loop, but for the deliveries to those who are in `takers`, by channel and tag."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.takers: dict[tuple[int, bytes], Callable[[Arrived], None]] = {}
        super().__init__(*arguments, **options)

    def _on_data_available(self, data_in: bytes) -> None:
        self._frame_buffer += data_in
        while self._hand_out_deliveries() is Nothing.OTHER and self._process_one_frame():
            pass

    def _hand_out_deliveries(self) -> Nothing:
        """Hand out the deliveries that the buffer begins with; why there is no further one."""
        if not self.takers:
            return Nothing.OTHER
        end = 0
        try:
            while not isinstance(read := read_delivery(self._frame_buffer, end), Nothing):
                if (take := self.takers.get((read.channel, read.consumer_tag))) is None:
                    return Nothing.OTHER
                end = read.end
                self.frames_received += 3
                take(read.arrived)
            return read
        finally:
            if end:
                self._trim_frame_buffer(end)

    def _process_one_frame(self) -> bool:
        """What pika does with a frame; whether there was a whole one."""
        size, frame = self._read_frame()
        if not frame:
            return False
        self._trim_frame_buffer(size)
        self._process_frame(frame)
        return True


def take_deliveries(channel: Channel, consumer_tag: str, take: Callable[[Arrived], None]) -> None:
    """Have a consumer's plain deliveries handed to `take`; the others still come to its callback."""
    channel.connection.takers[channel.channel_number, consumer_tag.encode()] = take


def leave_deliveries(channel: Channel) -> None:
    """Have all that still comes go pika's way, which gives back what comes to a consumer that is being cancelled."""
    channel.connection.takers.clear()


def write(channel: Channel, chunks: Iterable[bytes]) -> None:
    """Write frames that are encoded already."""
    channel.connection._output_marshaled_frames(list(chunks))
