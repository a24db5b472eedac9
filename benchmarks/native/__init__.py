"""The C client that shows what the broker itself can take, compiled on this machine."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

WINDOW = 2000
"""Messages that wait for their confirms: as many as our dispatcher has in flight."""
_SOURCE = Path(__file__).with_name("publish.c")
_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Sample:
    """A message that is published again and again: where to, its properties that are text, its body."""

    exchange: str
    routing_key: str
    type: str
    message_id: str
    correlation_id: str
    app_id: str
    body: str


class NativeClient:
    """librabbitmq, as publish.c uses it."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def publish(self, amqp_url: str, sample: Sample, count: int) -> float:
        """Publish the sample so often; messages per second from the first publish to the last confirm."""
        url = urlsplit(amqp_url)
        to = [url.hostname, url.port, url.username, url.password, sample.exchange, sample.routing_key]
        what = [sample.type, sample.message_id, sample.correlation_id, sample.app_id, sample.body]
        arguments = [str(argument) for argument in (*to, count, WINDOW, *what)]
        ran = subprocess.run([self._program, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S)
        assert ran.returncode == 0, ran.stderr
        return count / float(ran.stdout)


def compiled(folder: Path) -> NativeClient | None:
    """The client, compiled into `folder`; None without a compiler or without librabbitmq."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    program = folder / "publish"
    built = subprocess.run(
        [compiler, "-std=gnu11", "-O2", "-o", program, _SOURCE, "-lrabbitmq"], capture_output=True, text=True
    )
    if built.returncode:
        print(f"The C client was not compiled: {built.stderr}")
        return None
    return NativeClient(program)
