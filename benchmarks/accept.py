"""Accepting: from a request's first byte to the 202, beside a bare aiohttp handler that publishes the same body."""

import threading
import time
from dataclasses import dataclass

from benchmarks import bare_api
from benchmarks.client import Client, batch_body
from benchmarks.figures import percentile
from benchmarks.parts import Parts
from shared.topology import BATCHES

POSTS = {1: 300, 1_000: 300, 100_000: 20}
"""How often a batch of each size is posted in a round."""
LARGE, SMALL = 100_000, 1
_SMALL_EVERY_S = 0.02
_WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of one round."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Accepting:
    """By recipients, a figure for each round; `beside` are posts for one recipient while large ones are accepted."""

    ours: dict[int, list[Times]]
    bare: dict[int, list[Times]]
    beside: list[Times]


def measured(parts: Parts, rounds: int) -> Accepting:
    """One client that posts to ours and to the bare handler in turns; nothing consumes meanwhile."""
    api, bare = parts.start("services.api"), parts.start("benchmarks.bare_api")
    seen = Accepting({size: [] for size in POSTS}, {size: [] for size in POSTS}, [])
    with Client(api.url) as to_ours, Client(bare.url) as to_bare:
        _in_turns(to_ours, to_bare, batch_body(SMALL), _WARM_UP)
        for turn in range(rounds):
            for size, posts in POSTS.items():
                ours, of_bare = _in_turns(to_ours, to_bare, batch_body(size), posts)
                seen.ours[size].append(ours)
                seen.bare[size].append(of_bare)
                print(f"  round {turn + 1}: {size:7,}: p99 {ours.p99_ms:.1f} ms, bare {of_bare.p99_ms:.1f} ms")
            seen.beside.append(_beside_large(api.url, to_ours))
            print(f"  round {turn + 1}: 1 beside {LARGE:,}: p99 {seen.beside[-1].p99_ms:.1f} ms", flush=True)
            parts.purge(BATCHES)
            parts.purge(bare_api.QUEUE)
    api.stop()
    bare.stop()
    return seen


def _in_turns(to_ours: Client, to_bare: Client, body: bytes, posts: int) -> tuple[Times, Times]:
    ours_ms, bare_ms = zip(*((to_ours.timed_post(body), to_bare.timed_post(body)) for _ in range(posts)), strict=True)
    return _times(ours_ms), _times(bare_ms)


def _beside_large(url: str, small: Client) -> Times:
    """Posts for one recipient at an even pace, while another client posts large batches back to back."""
    done = threading.Event()

    def post_large() -> None:
        try:
            with Client(url) as large:
                body = batch_body(LARGE)
                for _ in range(POSTS[LARGE]):
                    large.post(body)
        finally:
            done.set()

    posting, body, took_ms = threading.Thread(target=post_large), batch_body(SMALL), []
    posting.start()
    while not done.is_set():
        took_ms.append(small.timed_post(body))
        time.sleep(_SMALL_EVERY_S)
    posting.join()
    return _times(took_ms)


def _times(took_ms: list[float] | tuple[float, ...]) -> Times:
    return Times(percentile(took_ms, 50), percentile(took_ms, 99))
