"""The services with several providers, each of which is a simulator of its own."""

import dataclasses
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.support.forking.process import outside_environment, run
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio


@dataclasses.dataclass
class Several(Trio):
    """A trio with providers of one simulator each, by their names."""

    file: Path = Path()
    simulators: dict[str, ServiceProcess] = dataclasses.field(default_factory=dict)

    @property
    def providers(self) -> Mapping[str, ServiceProcess]:
        """Who is called, by the providers' names."""
        return self.simulators

    def has(self, **providers: str) -> "Several":
        """Write the file: what each provider's table says beside its type and URL."""
        tables = []
        for name, keys in providers.items():
            if name not in self.simulators:
                self.simulators[name] = self.start("tools.simulator")
            url = f'url = "{self.simulators[name].url}/messages"\nallow_http = true'
            tables.append(f'[providers.{name}]\ntype = "plain"\n{url}\n{keys}\n')
        self.file.write_text("\n".join(tables))
        return self

    def reload(self, word: str = "providers_reloaded") -> None:
        """Have dispatcher and senders read the file again, and wait until they say so."""
        services = (self.dispatcher, *self.senders)
        said = {service.pid: service.log.count(word) for service in services}
        for service in services:
            os.kill(service.pid, signal.SIGHUP)
        eventually(lambda: all(service.log.count(word) > said[service.pid] for service in services))

    def taken(self, batch_id: str) -> dict[str, int]:
        """How many messages of a batch each provider took; every reference once."""
        assert set(self.provider_accepted(batch_id).values()) <= {1}
        taken = {name: len(self._told(each, "accepted", batch_id)) for name, each in self.simulators.items()}
        return {name: number for name, number in taken.items() if number}

    def behave(self, name: str, mode: str, **fields: object) -> None:
        """Tell one provider how to answer from now on."""
        answer = requests.put(f"{self.simulators[name].url}/behaviour", json={"mode": mode, **fields}, timeout=30)
        assert answer.status_code == 200, answer.text

    def providers_shown(self) -> list[dict[str, Any]]:
        """How the api shows the providers."""
        answer = requests.get(f"{self.api.url}/v1/providers", timeout=30)
        assert answer.status_code == 200, answer.text
        shown: list[dict[str, Any]] = answer.json()["providers"]
        return shown

    def command(self, *words: str) -> str:
        """Run a command of smsctl; what it says."""
        ended = self._smsctl(*words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def refused(self, *words: str) -> tuple[int, str]:
        """Run a command of smsctl that does not succeed; its exit status and what it complains of."""
        ended = self._smsctl(*words)
        assert ended.returncode != 0, ended.stdout
        return ended.returncode, ended.stderr

    def _smsctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run("tools.ctl", *words, environment=outside_environment(**self.settings), timeout_s=60)
