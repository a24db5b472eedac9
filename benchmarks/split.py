"""Splitting: from the 202 to the last confirm with the ledger's rows written, beside a C client that only publishes."""

import time
from dataclasses import dataclass

from benchmarks import native
from benchmarks.client import Client, batch_body
from benchmarks.parts import Parts
from shared.topology import OUTBOUND, Lane, outbound_queue

_TIMEOUT_S = 300
_SETTLED_S = 1.0
_ROOM = 1_000


@dataclass(frozen=True, slots=True)
class Splitting:
    """Messages per second, a figure for each round; `native` is empty where the C client was not compiled."""

    ours: list[float]
    native: list[float]


def measured(parts: Parts, rounds: int, count: int) -> Splitting:
    """Ours and the C client in turns, with the same message to the same queue; no sender runs."""
    queue, client_in_c = outbound_queue(Lane.BULK), native.compiled(parts.folder)
    api = parts.start("services.api")
    # Deeper than the batch, which is at most 99,000 then: with its default the dispatcher would wait for senders.
    dispatcher = parts.start("services.dispatcher", SMS_OUTBOUND_DEPTH=str(count + _ROOM))
    seen = Splitting([], [])
    with Client(api.url) as client:
        for turn in range(rounds):
            seen.ours.append(_split(client, count))
            sample = _sample(parts, queue)
            _empty(parts, queue)
            if client_in_c is not None:
                seen.native.append(client_in_c.publish(parts.broker.url, sample, count))
                _empty(parts, queue)
            native_rate = f", C client {seen.native[-1]:,.0f}" if seen.native else ""
            print(f"  round {turn + 1}: {seen.ours[-1]:,.0f} numbers/s{native_rate}", flush=True)
    dispatcher.stop()
    api.stop()
    return seen


def _split(client: Client, count: int) -> float:
    body = batch_body(count)
    batch_id = client.post(body)
    began_s = time.perf_counter()
    client.await_count(batch_id, "queued", count, _TIMEOUT_S)
    return count / (time.perf_counter() - began_s)


def _sample(parts: Parts, queue: str) -> native.Sample:
    with parts.amqp() as connection:
        method, properties, body = connection.channel().basic_get(queue)
    assert method is not None
    # RabbitMQ 3.10 itself adds this one.
    assert set(properties.headers or ()) <= {"x-delivery-count"}, "the C client publishes no headers"
    return native.Sample(
        OUTBOUND,
        str(Lane.BULK),
        properties.type,
        properties.message_id,
        properties.correlation_id,
        properties.app_id,
        body.decode(),
    )


def _empty(parts: Parts, queue: str) -> None:
    parts.purge(queue)
    time.sleep(_SETTLED_S)
