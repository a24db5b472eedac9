"""Four task frameworks that do the same fan-out, each as its documentation has it, with its best settings found here.

The same for all: a task takes a batch of N numbers and publishes one task per number; two sender processes post each
to the provider. Quorum queues, persistent messages, publisher confirms, and an acknowledgement only after the call.
What they do not do, and we do: a ledger row per number, duplicates, number checks, fair turns of batches, dead letters
with a reason. So every difference in work is in their favour.

Each module has `connect()` and `hand_in(numbers, text)`, which `hand_in.py` calls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.competitors import commands

Command = Sequence[str]


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework: its module here, and the commands of its dispatcher and its two senders."""

    name: str
    module: str
    commands: Callable[[], list[Command]]


FRAMEWORKS = (
    Framework("FastStream", "benchmarks.competitors.of_faststream", commands.faststream),
    Framework("TaskIQ", "benchmarks.competitors.of_taskiq", commands.taskiq),
    Framework("Dramatiq", "benchmarks.competitors.of_dramatiq", commands.dramatiq),
    Framework("Celery", "benchmarks.competitors.of_celery", commands.celery),
)
