"""`python -m benchmarks.million`: a million numbers; how fast each tenth goes, and what the processes hold."""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson
from pika.adapters.blocking_connection import BlockingChannel

from benchmarks import machine
from benchmarks.__main__ import RESULTS
from benchmarks.client import Client, batch_body
from benchmarks.figures import short, tenth_rates
from benchmarks.parts import Parts, running_parts
from benchmarks.usage import memory
from shared.topology import Lane, outbound_queue

SENDERS = 2
OUTBOUND_DEPTH = 2000
"""The dispatcher's default: how many numbers may wait in each outbound queue."""
_DEPTHS_EVERY_S = 0.1
_LOOKS_AT_DEPTHS = 10
"""To one look at counts and memory, which costs more."""
_SLOWEST_PER_S = 200


@dataclass(slots=True)
class Million:
    """What was seen. Memory in MiB: peaks of each process, and of broker and database as seen at every look."""

    about: dict[str, str]
    batches: int
    numbers: int
    progress: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])
    """(Seconds since the first post, numbers sent), about a second apart."""
    greatest_depth: int = 0
    memory_mib: dict[str, float] = field(default_factory=dict)

    @property
    def rates(self) -> list[float]:
        """Numbers per second in each tenth."""
        return tenth_rates(self.progress, self.numbers)


def main() -> None:
    """Send the batches, and write `million.json` and `million.md`."""
    options = _parser().parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    with tempfile.TemporaryDirectory() as folder, running_parts(Path(folder)) as parts:
        seen = measured(parts, options.batches, options.recipients)
    encoded = orjson.dumps({**asdict(seen), "rates": seen.rates}, option=orjson.OPT_INDENT_2)
    (options.into / "million.json").write_bytes(encoded + b"\n")
    (options.into / "million.md").write_text(page(seen))
    print(page(seen))


def measured(parts: Parts, batches: int, recipients: int) -> Million:
    """Post all batches at once, and look on until every number is sent."""
    services = {"api": parts.start("services.api")}
    services["dispatcher"] = parts.start("services.dispatcher", SMS_OUTBOUND_DEPTH=str(OUTBOUND_DEPTH))
    services |= {f"sender {number}": parts.start("services.sender") for number in range(1, SENDERS + 1)}
    seen = Million(machine.about(parts), batches, batches * recipients)
    body = batch_body(recipients)
    with Client(services["api"].url) as client:
        began_s = time.perf_counter()
        batch_ids = [client.post(body) for _ in range(batches)]
        for sent in _counts(seen, parts, client, batch_ids):
            seen.progress.append((time.perf_counter() - began_s, sent))
            assert seen.progress[-1][0] < seen.numbers / _SLOWEST_PER_S, f"too slow: {seen.progress[-1]}"
    seen.memory_mib |= {name: memory([service.pid]).sum_mib for name, service in services.items()}
    for service in services.values():
        service.stop()
    return seen


def _counts(seen: Million, parts: Parts, client: Client, batch_ids: Sequence[str]) -> Iterator[int]:
    """How many numbers are sent, every second, until all are; in between depths and memory."""
    sent = 0
    with parts.amqp() as connection:
        channel = connection.channel()
        while sent < seen.numbers:
            _look_at_memory(seen, parts)
            for _ in range(_LOOKS_AT_DEPTHS):
                _look_at_depths(seen, channel)
                connection.sleep(_DEPTHS_EVERY_S)
            sent = sum(client.counts(batch_id).get("sent", 0) for batch_id in batch_ids)
            yield sent


def _look_at_depths(seen: Million, channel: BlockingChannel) -> None:
    depths = [channel.queue_declare(outbound_queue(lane), passive=True).method.message_count for lane in Lane]
    seen.greatest_depth = max(seen.greatest_depth, *depths)


def _look_at_memory(seen: Million, parts: Parts) -> None:
    for name, server in (("broker", parts.broker), ("database", parts.database)):
        seen.memory_mib[name] = max(seen.memory_mib.get(name, 0.0), server.memory_mib())


def page(seen: Million) -> str:
    """The result for people."""
    rates = seen.rates
    return "\n".join(
        [
            f"# {seen.numbers:,} numbers",
            "",
            f"Written by `make bench-million`: {seen.batches} batches posted one after the other, {SENDERS} senders.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in seen.about.items()),
            f"| time | {seen.progress[-1][0]:,.0f} s |",
            f"| last tenth ÷ second tenth | {short(rates[-1] / rates[1])} |",
            f"| greatest depth of an outbound queue | {seen.greatest_depth:,} of {OUTBOUND_DEPTH:,} |",
            *(f"| peak memory, {name} | {value:,.0f} MiB |" for name, value in seen.memory_mib.items()),
            "",
            "| tenth | numbers/s |",
            "|---|---|",
            *(f"| {number} | {short(rate)} |" for number, rate in enumerate(rates, 1)),
            "",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million")
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--recipients", type=int, default=100_000, help="of each batch (%(default)s)")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder for the results (%(default)s)")
    return parser


if __name__ == "__main__":
    main()
