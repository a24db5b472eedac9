"""The local run, `python -m tools.local`, in a folder and on ports of its own: up, sample, dead letters, down."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.machine import missing
from tests.support.processes import eventually
from tools.node import Node, NotInstalledError, install
from tools.node.ports import free_ports

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 180
SAMPLE = 2000


class Local:
    """The command with settings of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api_port, management_port, simulator_port = free_ports(3)
        self.settings = {
            "SMS_RUN_FOLDER": str(folder),
            "SMS_API_PORT": str(self.api_port),
            "SMS_MANAGEMENT_PORT": str(management_port),
            "SMS_SIMULATOR_PORT": str(simulator_port),
            "SMS_RETRY_TIERS_S": "0.5,1,2",
            "SMS_PROVIDER_TIMEOUT_S": "3",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SMS_")}
        return subprocess.run(
            [sys.executable, "-m", "tools.local", *arguments],
            cwd=ROOT,
            env=inherited | self.settings,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def up(self, *arguments: str) -> str:
        done = self.run("up", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pids(self) -> dict[str, int]:
        entries = json.loads((self.folder / "processes.json").read_text())
        return {name: entry["pid"] for name, entry in entries.items()}

    def smsctl(self, *arguments: str) -> None:
        command = f'. "{self.folder}/env" && exec "$0" -m tools.ctl "$@"'
        subprocess.run(["sh", "-c", command, sys.executable, *arguments], cwd=ROOT, timeout=TIMEOUT_S, check=True)

    def newest_batch(self) -> dict[str, Any]:
        batches = requests.get(f"http://127.0.0.1:{self.api_port}/v1/batches", timeout=TIMEOUT_S).json()["batches"]
        found: dict[str, Any] = batches[0]
        return found

    def dead_letters(self) -> list[dict[str, Any]]:
        node = Node.load(self.folder / "node")
        letters: list[dict[str, Any]] = requests.post(
            f"{node.management_url}api/queues/%2F/sms.dead-letter/get",
            auth=(node.config.user, node.config.password),
            json={"count": SAMPLE, "ackmode": "ack_requeue_true", "encoding": "auto"},
            timeout=TIMEOUT_S,
        ).json()
        return letters

    def processes(self) -> list[int]:
        """Whatever was started with our folder in its environment and still runs."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if str(self.folder).encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # ended meanwhile
                continue
        return found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    try:
        install.scripts_folder()
    except NotInstalledError as error:
        missing(str(error))
    local = Local(tmp_path_factory.mktemp("local") / "短信 run")
    try:
        local.up("--senders", "2")
        yield local
    finally:
        local.run("down")


def test_the_sample_batch_ends_with_counts_that_add_up_and_readable_dead_letters(local: Local) -> None:
    local.smsctl("sample")
    batch = local.newest_batch()
    assert batch["status"] == "finished"
    assert sum(batch["counts"].values()) == batch["recipients"] == SAMPLE
    assert {"sent", "failed", "unknown", "invalid", "duplicate"} <= batch["counts"].keys()
    letters = local.dead_letters()
    assert len(letters) == batch["counts"]["failed"]
    assert {letter["properties"]["headers"]["x-error-code"] for letter in letters} == {"number_unreachable"}
    assert all(letter["properties"]["headers"]["x-error-reason"] for letter in letters)


def test_up_again_starts_what_died_and_leaves_the_rest_alone(local: Local) -> None:
    before = local.pids()
    os.kill(before["sender-1"], signal.SIGKILL)
    said = local.up("--senders", "3")
    after = local.pids()
    assert "starting sender-1\nstarting sender-3\n" in said
    assert {name for name in before if before[name] != after[name]} == {"sender-1"}
    assert after.keys() == before.keys() | {"sender-3"}
    assert local.run("status").returncode == 0


def test_the_folder_and_everything_in_it_is_for_its_owner_only(local: Local) -> None:
    everything = [local.folder, *(path for path in local.folder.rglob("*") if not path.is_symlink())]
    assert {local.folder / "env", local.folder / "ledger.sqlite3"} <= set(everything)
    assert [path for path in everything if path.stat().st_mode & 0o077] == []


def test_another_port_while_it_runs_is_refused_with_the_reason(local: Local) -> None:
    other = Local(local.folder)
    done = other.run("up")
    assert done.returncode == 1
    assert done.stderr.startswith(f"tools.local: the api runs on port {local.api_port}, not on {other.api_port}: ")


def test_down_leaves_no_process_and_up_finds_the_same_batches_again(local: Local) -> None:
    local.smsctl("sample", "--recipients", "20")
    batch = local.newest_batch()
    assert local.run("down").returncode == 0
    eventually(lambda: not local.processes())
    assert local.run("down").returncode == 0
    assert local.run("status").returncode == 3
    local.up("--senders", "1")
    assert local.newest_batch() == batch


def test_a_port_in_use_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    local = Local(tmp_path / "run")
    with socket.create_server(("127.0.0.1", local.api_port)):
        done = local.run("up")
    assert done.returncode == 1
    assert "SMS_API_PORT" in done.stderr
    assert done.stderr.count("\n") == 1
    assert local.processes() == []


def test_a_bad_setting_is_one_line_that_names_it(tmp_path: Path) -> None:
    local = Local(tmp_path / "run")
    local.settings["SMS_API_PORT"] = "http"
    done = local.run("up")
    assert done.returncode == 2
    assert done.stderr.startswith("tools.local: SMS_API_PORT: ")
    assert done.stderr.count("\n") == 1


def test_a_process_that_has_only_the_pid_of_ours_is_never_ended(tmp_path: Path) -> None:
    local = Local(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            entry = {"pid": stranger.pid, "since": "another boot/123", "ready_url": "http://127.0.0.1:1/readyz"}
            (tmp_path / "processes.json").write_text(json.dumps({"api": entry}))
            assert local.run("down").returncode == 0
            assert stranger.poll() is None
        finally:
            stranger.kill()
