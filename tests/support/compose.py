"""The compose file, brought up under a project name and ports of its own, with what clients can ask of it."""

import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.support.machine import has_docker
from tests.support.processes import eventually
from tools.node.ports import free_ports

ROOT = Path(__file__).parents[2]
_COMMAND_TIMEOUT_S = 600
_REQUEST_TIMEOUT_S = 60
_PAGE = 1000


def has_compose() -> bool:
    """Whether a Docker engine answers and Compose is there to talk to it."""
    return has_docker() and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0


class Compose:
    """One project of the compose file; `folder` keeps its .env, so that the user's own is neither read nor written.

    `overrides` are further compose files, which change or add to the first.
    """

    def __init__(self, folder: Path, overrides: Sequence[str | Path] = (), **settings: str) -> None:
        self.project = f"sms-test-{secrets.token_hex(3)}"
        self.api_key = secrets.token_hex(24)
        api_port, management_port, simulator_port = free_ports(3)
        self.api_url = f"http://127.0.0.1:{api_port}"
        self.simulator_url = f"http://127.0.0.1:{simulator_port}"
        self._files = ["docker-compose.yml", *map(str, overrides)]
        self._env_file = folder / "compose.env"
        values = {
            # As somebody may choose them; in single quotes Compose takes them as they are.
            "SMS_RABBITMQ_PASSWORD": f"'{secrets.token_hex(8)}@/:#%$x {secrets.token_hex(8)}'",
            "SMS_POSTGRES_PASSWORD": f"'{secrets.token_hex(8)}/@:%2F#$y {secrets.token_hex(8)}'",
            "SMS_REDIS_PASSWORD": f"'{secrets.token_hex(8)}/@:%2F#$y {secrets.token_hex(8)}'",
            "SMS_API_KEYS": self.api_key,
            "SMS_API_PORT": api_port,
            "SMS_MANAGEMENT_PORT": management_port,
            "SMS_SIMULATOR_PORT": simulator_port,
            **settings,
        }
        self._env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    def run(self, *arguments: str) -> str:
        """Run a Compose command and return what it printed; AssertionError with what it said when it fails."""
        options = ["--project-name", self.project, "--env-file", str(self._env_file)]
        files = [option for file in self._files for option in ("--file", file)]
        return _run("docker", "compose", *options, *files, *arguments)

    def up(self, senders: int) -> None:
        """Build, start, and wait until everything says that it is ready."""
        self.run("up", "--build", "--detach", "--wait", "--scale", f"sender={senders}")

    def down(self) -> None:
        """Leave nothing: containers, volumes, network, images."""
        self.run("--profile", "tools", "down", "--volumes", "--timeout", "5")
        images = _run("docker", "image", "ls", "--quiet", "--filter", f"reference={self.project}-*").split()
        if images:
            _run("docker", "image", "rm", "--force", *images)

    def kill(self, service: str) -> str:
        """kill -9 one container of the service; its id, for `start`."""
        container = self.run("ps", "--quiet", service).split()[0]
        _run("docker", "kill", "--signal", "KILL", container)
        return container

    def start(self, container: str) -> None:
        """Start a container that was killed."""
        _run("docker", "start", container)

    def logs(self) -> str:
        """All that every container has logged."""
        return self.run("logs", "--no-color", "--no-log-prefix")

    def post(self, recipients: list[str], text: str) -> requests.Response:
        """Post one batch."""
        return requests.post(
            f"{self.api_url}/v1/batches",
            json={"recipients": recipients, "content": text},
            headers=self._authorization,
            timeout=_REQUEST_TIMEOUT_S,
        )

    def batch(self, batch_id: str) -> dict[str, Any]:
        """The batch as the api shows it; an empty one while the api does not answer or is not ready."""
        try:
            response = self._get(f"/v1/batches/{batch_id}")
        except requests.ConnectionError:
            return {"status": "", "counts": {}}
        found: dict[str, Any] = response.json()
        return found if response.ok else {"status": "", "counts": {}}

    def finished(self, batch_id: str, timeout_s: float) -> dict[str, Any]:
        """The batch once it is finished; AssertionError with how far it came after the deadline."""
        last: dict[str, Any] = {}

        def look() -> bool:
            last.update(self.batch(batch_id))
            return bool(last["status"] == "finished")

        try:
            eventually(look, timeout_s, 0.2)
        except AssertionError:
            raise AssertionError(f"not finished within {timeout_s:g} s: {last}") from None
        return last

    def states(self, batch_id: str) -> dict[str, str]:
        """The ledger's state of every number, by its reference at the provider."""
        return {f"{batch_id}:{message['row']}": message["state"] for message in self._messages(batch_id)}

    def calls(self, batch_id: str) -> dict[str, int]:
        """How often the provider was called, by reference."""
        query = {"batch": batch_id}
        answer = requests.get(f"{self.simulator_url}/calls/counts", params=query, timeout=_REQUEST_TIMEOUT_S)
        counts: dict[str, int] = answer.json()["counts"]
        return counts

    @contextmanager
    def slow_provider(self, delay_s: float) -> Iterator[None]:
        """Each call takes so long within the block, so that there is time to do something in the middle of a batch."""
        self._behave(mode="slow", delay_s=delay_s)
        try:
            yield
        finally:
            self._behave(mode="accept")

    def _behave(self, **behaviour: Any) -> None:
        url = f"{self.simulator_url}/behaviour"
        requests.put(url, json=behaviour, timeout=_REQUEST_TIMEOUT_S).raise_for_status()

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}

    def _messages(self, batch_id: str) -> Iterator[dict[str, Any]]:
        query: dict[str, str | int] = {"limit": _PAGE}
        while True:
            page = self._get(f"/v1/batches/{batch_id}/messages", query).json()
            yield from page["messages"]
            if not page["next_cursor"]:
                return
            query["cursor"] = page["next_cursor"]

    def _get(self, path: str, query: dict[str, str | int] | None = None) -> requests.Response:
        return requests.get(
            f"{self.api_url}{path}", params=query, headers=self._authorization, timeout=_REQUEST_TIMEOUT_S
        )


@contextmanager
def running_compose(folder: Path, senders: int, **settings: str) -> Iterator[Compose]:
    """The project, up and ready; taken down at the end whatever happened."""
    compose = Compose(folder, **settings)
    try:
        compose.up(senders)
        yield compose
    finally:
        compose.down()


def _run(*command: str) -> str:
    # The shell's SMS_* would win over the env file.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SMS_", "COMPOSE_"))}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-4000:]}"
    return done.stdout
