"""Everything up, down, or shown: the broker first and last, the processes in their order between."""

import http.client
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tools.local import broker, processes
from tools.local.errors import NotReady, PortTaken
from tools.local.plan import SOURCES, Places, Process, plan, stage_of
from tools.local.processes import Started
from tools.local.register import Register
from tools.local.settings import LocalSettings
from tools.node.ports import HOST, free_ports, is_free

_READY_TIMEOUT_S = 60
_PROBE_TIMEOUT_S = 2
_STOP_MARGIN_S = 5
_LINES_SHOWN = 3


class Stack:
    """The local run of one folder; methods print what they do and raise LocalError or NodeError."""

    def __init__(self, settings: LocalSettings, inherited: Mapping[str, str]) -> None:
        self._settings = settings
        self._inherited = inherited
        self.folder = settings.folder
        self.register = Register(self.folder)

    def up(self, senders: int) -> list[str]:
        """Start what does not run yet, end surplus senders, and return all names when all of it is ready."""
        with self.register.lock():
            self._require_ports()
            node = broker.start(self._settings)
            ports = self._settings.api_port, self._settings.simulator_port
            places = Places(self.folder, node.amqp_url, node.management_url, *ports)
            wanted = plan(places, senders, self._inherited)
            running = self._without_surplus(wanted)
            for name, process in wanted.items():
                if name not in running:
                    running[name] = self._start(name, process)
                    self.register.write(running)
            self._await_ready({name: running[name] for name in wanted})
            _write_exports(self.folder / "env", places.for_smsctl)
            return list(wanted)

    def down(self) -> None:
        """Stop everything in order: who takes work in, who works, who is called, the broker."""
        if not self.folder.exists():
            return
        with self.register.lock():
            self._end(self.register.running())
            self.register.write({})
            node = broker.existing(self.folder)
            if node is not None and node.running():
                print("stopping the broker")
                node.stop()

    def _without_surplus(self, wanted: Mapping[str, Process]) -> dict[str, Started]:
        running = self.register.running()
        self._end({name: process for name, process in running.items() if name not in wanted})
        return {name: process for name, process in running.items() if name in wanted}

    def _end(self, ending: Mapping[str, Started]) -> None:
        for stage in sorted({stage_of(name) for name in ending}):
            members = {name: process for name, process in ending.items() if stage_of(name) == stage}
            print(f"stopping {', '.join(sorted(members))}")
            processes.end(members.values(), self._settings.drain_timeout_s + _STOP_MARGIN_S)

    def _require_ports(self) -> None:
        running = self.register.running()
        for name, port in (("api", self._settings.api_port), ("simulator", self._settings.simulator_port)):
            variable = f"SMS_{name.upper()}_PORT"
            if name not in running and not is_free(port):
                taken = f"port {port} (the {name}) is taken by another process"
                raise PortTaken(f"{taken}: end that, or choose another with {variable}")
            if name in running and running[name].port != port:
                # The others know the old one.
                other = f"the {name} runs on port {running[name].port}, not on {port}"
                raise PortTaken(f"{other}: stop everything before {variable} changes")

    def _start(self, name: str, process: Process) -> Started:
        print(f"starting {name}")
        port = process.port or free_ports(1)[0]
        settings = {**process.settings, "SMS_HEALTH_HOST": HOST, "SMS_HEALTH_PORT": str(port)}
        return processes.start(
            [sys.executable, "-m", process.module],
            {**self._inherited, **settings},
            SOURCES,
            self._log(name),
            f"http://{HOST}:{port}{process.ready_path}",
        )

    def _await_ready(self, waiting: dict[str, Started]) -> None:
        def all_ready_or_one_ended() -> bool:
            for name in [name for name, process in waiting.items() if is_ready(process)]:
                del waiting[name]
            return not waiting or not all(process.alive for process in waiting.values())

        processes.wait_until(all_ready_or_one_ended, _READY_TIMEOUT_S)
        ended = [name for name, process in waiting.items() if not process.alive]
        for name in ended or waiting:
            what = "ended" if ended else f"is not ready after {_READY_TIMEOUT_S} s"
            raise NotReady(f"{name} {what}; its log ({self._log(name)}) says: {_last_words(self._log(name))}")

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"


def is_ready(process: Started) -> bool:
    """Whether the process says that it is ready for work."""
    place = urlsplit(process.ready_url)
    client = http.client.HTTPConnection(place.netloc, timeout=_PROBE_TIMEOUT_S)
    try:
        client.request("GET", place.path)
        return client.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


def _write_exports(path: Path, variables: Mapping[str, str]) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-_LINES_SHOWN:]) or "(nothing)"
