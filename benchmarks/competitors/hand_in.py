"""`python -m benchmarks.competitors.hand_in MODULE`: a front end that hands batches to a framework.

It says `ready` once it is connected. To a line with a count it makes that batch and says `prepared`; at `go` it hands
it in and says `done`. So neither starting Python nor connecting counts as the framework's time.
"""

import asyncio
import importlib
import sys
from types import ModuleType

from benchmarks.client import TEXT, recipients


async def serve(framework: ModuleType) -> None:
    """Answer lines until the input ends."""
    await framework.connect()
    numbers: list[str] = []
    _say("ready")
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if line == "go":
            await framework.hand_in(numbers, TEXT)
            _say("done")
        else:
            numbers = recipients(int(line))
            _say("prepared")


def _say(word: str) -> None:
    print(word, flush=True)


if __name__ == "__main__":
    asyncio.run(serve(importlib.import_module(sys.argv[1])))
