"""Many clients that ask for one batch's status again and again, each by a connection of its own, as one process.

`python -m benchmarks.polling URL CLIENTS EVERY_S`: says "ready" when all are connected; each line that it reads is the
id of the batch to ask for from then on; at the end of its input it says how many answers there were a second.
"""

import asyncio
import sys
import time
from urllib.parse import urlsplit

_END_OF_LINE, _END_OF_HEAD = b"\r\n", b"\r\n\r\n"
_LENGTH = b"\r\nContent-Length: "
_GOOD = b"HTTP/1.1 200 "


class Asking:
    """The batch that everybody asks for, and how many good answers there were since somebody did."""

    def __init__(self, host: str) -> None:
        self._host, self._began_s = host, 0.0
        self.request, self.answers = b"", 0

    def turn_to(self, batch_id: str) -> None:
        """Ask for this batch."""
        self._began_s = self._began_s or time.monotonic()
        self.request = f"GET /v1/batches/{batch_id} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode()

    def answers_per_s(self) -> float:
        """Since the first batch was named."""
        return self.answers / (time.monotonic() - self._began_s)


async def _ask(asking: Asking, host: str, port: int, first_after_s: float, every_s: float) -> None:
    """Ask, read the answer, and ask again so long after the question before."""
    reader, writer = await asyncio.open_connection(host, port)
    loop = asyncio.get_running_loop()
    due_s = loop.time() + first_after_s
    while True:
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        due_s += every_s
        if not asking.request:
            continue
        writer.write(asking.request)
        head = await reader.readuntil(_END_OF_HEAD)
        await reader.readexactly(int(head.partition(_LENGTH)[2].partition(_END_OF_LINE)[0]))
        if not head.startswith(_GOOD):
            raise RuntimeError(f"answered {head.partition(_END_OF_LINE)[0]!r}")
        asking.answers += 1


async def main(url: str, clients: int, every_s: float) -> None:
    """Ask until standard input ends; RuntimeError for any answer but a 200."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 0)
    asking, loop = Asking(parts.netloc), asyncio.get_running_loop()
    # Spread evenly over the time between two questions of one.
    asks = [_ask(asking, host, port, number * every_s / clients, every_s) for number in range(clients)]
    everybody = asyncio.gather(*asks)
    print("ready", flush=True)
    while not everybody.done() and (line := await loop.run_in_executor(None, sys.stdin.readline)):
        asking.turn_to(line.strip())
    if everybody.done():
        everybody.result()
    everybody.cancel()
    print(asking.answers_per_s(), flush=True)


if __name__ == "__main__":
    _, given_url, given_clients, given_every_s = sys.argv
    asyncio.run(main(given_url, int(given_clients), float(given_every_s)))
