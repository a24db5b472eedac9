"""One private RabbitMQ node: start, stop, kill, and find it again from its folder."""

import fcntl
import os
import secrets
import signal
import subprocess
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from shared.files import for_owner_only
from tools.node import files, install, ports, processes, readiness
from tools.node.config import NodeConfig
from tools.node.errors import NodeError, NotReadyError, PortTakenError

KILL_TIMEOUT_S = 10.0
APPEARS_WITHIN_S = 3.0
STEADY_FOR_S = 0.3
UNSEEN_FOR_S = 1.0


class Node:
    """A RabbitMQ node on loopback ports, with all its files in one folder; it survives the process that started it."""

    def __init__(
        self,
        folder: Path,
        amqp_port: int,
        management_port: int,
        prometheus_port: int,
        dist_port: int,
        epmd_port: int,
        user: str,
        password: str,
    ) -> None:
        """Describe a node; nothing is started or written. A ValueError says what the values get wrong."""
        self.config = NodeConfig(
            folder=folder.resolve(),
            amqp_port=amqp_port,
            management_port=management_port,
            prometheus_port=prometheus_port,
            dist_port=dist_port,
            epmd_port=epmd_port,
            user=user,
            password=password,
        )

    @classmethod
    def with_free_ports(cls, folder: Path) -> Self:
        """A new node with free ports and a generated password, both kept in `folder`/node.json.

        Raises NodeError when the folder has a node already: its data know only its own password.
        """
        if (folder / files.NODE_FILE).exists():
            raise NodeError(f"{folder} has a node already: load it, or remove the folder")
        amqp, management, prometheus, dist, epmd = ports.free_ports(5)
        node = cls(folder, amqp, management, prometheus, dist, epmd, "sms", secrets.token_hex(16))
        files.write(node.config)
        return node

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The node described by `folder`/node.json, running or not; raises NodeError when there is none."""
        try:
            return cls(folder, **files.read(folder))
        except (TypeError, ValueError) as error:
            raise NodeError(f"{folder / files.NODE_FILE} cannot be used: {error}") from None

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """The node of `folder`, made with free ports if there is none yet."""
        return cls.load(folder) if (folder / files.NODE_FILE).exists() else cls.with_free_ports(folder)

    @property
    def folder(self) -> Path:
        """Where everything of this node is."""
        return self.config.folder

    @property
    def password_file(self) -> Path:
        """The file, for its owner's eyes, that keeps user, password and ports."""
        return self.folder / files.NODE_FILE

    @property
    def amqp_url(self) -> str:
        """The broker's address with user and password."""
        return f"amqp://{self.config.user}:{self.config.password}@{ports.HOST}:{self.config.amqp_port}/"

    @property
    def management_url(self) -> str:
        """The management UI's address, without user and password."""
        return f"http://{ports.HOST}:{self.config.management_port}/"

    @property
    def prometheus_url(self) -> str:
        """The broker's metrics."""
        return f"http://{ports.HOST}:{self.config.prometheus_port}/metrics"

    def running(self) -> bool:
        """Whether the node's Erlang VM lives; it may still be starting."""
        return bool(self._broker())

    def start(self, timeout_s: float = 60.0, scripts: Path | None = None) -> None:
        """Start the node and return when AMQP and the management API answer; a running node is waited for.

        `scripts` is the folder of RabbitMQ's own, where it is not the installed one. Raises NotInstalledError,
        PortTakenError, or NotReadyError with what the log says; then nothing is left running.
        """
        server = (scripts or install.scripts_folder()) / "rabbitmq-server"
        with self._lock():
            files.link(self.config)
            if not self.running():
                self._end_processes()
                self._require_free_ports()
                files.write(self.config)
                self._spawn(server)
            self._await_ready(timeout_s)

    def stop(self, timeout_s: float = 30.0) -> None:
        """End the node in order, its epmd and every helper process, by force after `timeout_s`; twice is fine.

        RabbitMQ's own orderly stop takes about 6 s; `kill` before `stop` where the data are thrown away.
        """
        if not self.folder.exists():
            return
        with self._lock():
            processes.send(self._broker(), signal.SIGTERM)
            processes.wait_until(lambda: not self.running(), timeout_s)
            self._end_processes()
            files.unlink(self.config)

    def kill(self) -> None:
        """End the Erlang VM with SIGKILL, as a crash would; `start` brings the node back with the same data.

        Except a quorum queue declared within the last second: RabbitMQ lists it on disk half a second later
        (`names.dets`), and a queue killed before that never elects a leader again (seen on 3.10.8).
        """
        processes.send(self._broker(), signal.SIGKILL)
        if not processes.wait_until(lambda: not self.running(), KILL_TIMEOUT_S):
            raise NodeError(f"the node in {self.folder} outlived SIGKILL by {KILL_TIMEOUT_S:.0f} s")

    def rabbitmqctl(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Run rabbitmqctl against this node and return its standard output; raises NodeError with what it said."""
        # Against a stopped node it would start an epmd that nobody ends.
        if not self.running():
            raise NodeError(f"the node in {self.folder} is not running")
        command = [str(install.scripts_folder() / "rabbitmqctl"), *arguments]
        try:
            done = subprocess.run(
                command,
                env=self.config.tool_environment(_path()),
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NodeError(f"rabbitmqctl {arguments[0]} took longer than {timeout_s:g} s") from None
        if done.returncode != 0:
            said = textwrap.shorten(done.stderr or done.stdout, width=300, placeholder=" …")
            raise NodeError(f"rabbitmqctl {arguments[0]} failed: {said}")
        return done.stdout

    def _broker(self) -> list[processes.Process]:
        return [process for process in processes.of_folder(self.folder) if process.name == "beam.smp"]

    def _require_free_ports(self) -> None:
        for purpose, port in self.config.ports.items():
            if not ports.is_free(port):
                taken = f"port {port} ({purpose}) is taken by another process"
                raise PortTakenError(f"{taken}: end that, or change it in {self.password_file}")

    def _spawn(self, server: Path) -> None:
        """Detach through setsid --fork: no terminal reaches the server, and no zombie stays with us when it ends."""
        with open(self.config.startup_log, "wb", opener=for_owner_only) as log:
            subprocess.run(
                ["setsid", "--fork", str(server)],
                env=self.config.server_environment(_path()),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                umask=0o077,
                check=True,
            )

    def _await_ready(self, timeout_s: float) -> None:
        # The server was detached: on a busy machine a moment passes before it is seen for the first time.
        processes.wait_until(self._lives, APPEARS_WITHIN_S)
        if not processes.wait_until(lambda: self._ended() or self._answers_steadily(), timeout_s):
            self._give_up(f"RabbitMQ did not answer within {timeout_s:g} s")
        if self._ended():
            self._give_up("RabbitMQ ended while starting")

    def _answers_steadily(self) -> bool:
        # Twice: a node that had just answered has been seen to refuse the next connection (3.10.8, a busy machine).
        if not readiness.answers(self.config):
            return False
        time.sleep(STEADY_FOR_S)
        return readiness.answers(self.config)

    def _ended(self) -> bool:
        """Whether nothing that could become or be the broker was seen for a second.

        While a process executes another program its environment reads as empty (execve, proc(5)): the server's script
        does so several times, and one look in that moment finds nothing.
        """
        return not processes.wait_until(self._lives, UNSEEN_FOR_S)

    def _lives(self) -> bool:
        """Whether something is seen that could become or be the broker; epmd alone is neither."""
        return any(process.name != "epmd" for process in processes.of_folder(self.folder))

    def _give_up(self, reason: str) -> None:
        said = files.last_words(self.config)
        self._end_processes()
        raise NotReadyError(f"{reason}; its log says: {said} (all of it: {self.config.log_file.parent})")

    def _end_processes(self) -> None:
        """End whatever is left of the node; epmd outlives the broker by design and ends on SIGTERM."""
        for number, patience_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, KILL_TIMEOUT_S)):
            processes.send(processes.of_folder(self.folder), number)
            if processes.wait_until(lambda: not processes.of_folder(self.folder), patience_s):
                return
        raise NodeError(f"processes of {self.folder} outlived SIGKILL: {processes.of_folder(self.folder)}")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One start or stop at a time, across processes."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.folder / "node.lock", "w", opener=for_owner_only) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _path() -> str:
    # Not a setting: the children need it to find erl, and ordinary users have no sbin in theirs.
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
