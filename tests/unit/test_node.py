"""The private node's configuration, environment, kept values and small decisions; no RabbitMQ is started."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tools.node import Node, NodeError, NotInstalledError, PortTakenError, files, install, ports, processes
from tools.node.__main__ import main
from tools.node.config import NodeConfig

CONFIG = NodeConfig(
    folder=Path("/srv/here"),
    amqp_port=21001,
    management_port=21002,
    prometheus_port=21003,
    dist_port=21004,
    epmd_port=21005,
    user="sms",
    password="made-up",
)


def _settings(config: NodeConfig) -> dict[str, str]:
    return dict(line.split(" = ", 1) for line in config.rabbitmq_conf().splitlines())


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_listener_is_on_loopback() -> None:
    settings, environment = _settings(CONFIG), CONFIG.server_environment("/usr/bin")
    assert settings["listeners.tcp.1"] == "127.0.0.1:21001"
    assert (settings["management.tcp.ip"], settings["management.tcp.port"]) == ("127.0.0.1", "21002")
    assert (settings["prometheus.tcp.ip"], settings["prometheus.tcp.port"]) == ("127.0.0.1", "21003")
    assert environment["RABBITMQ_DIST_PORT"] == "21004"
    assert "inet_dist_use_interface {127,0,0,1}" in environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
    assert (environment["ERL_EPMD_ADDRESS"], environment["ERL_EPMD_PORT"]) == ("127.0.0.1", "21005")


def test_the_administrator_is_the_generated_user() -> None:
    settings = _settings(CONFIG)
    assert (settings["default_user"], settings["default_pass"]) == ("sms", "made-up")


def test_a_folder_that_rabbitmq_cannot_name_is_known_to_it_by_a_link(tmp_path: Path) -> None:
    config = replace(CONFIG, folder=tmp_path / "短信 批次")
    paths = [value for value in config.server_environment("/usr/bin").values() if "/mnesia" in value]
    assert paths == [str(config.known_as / "mnesia")]
    files.link(config)
    files.link(config)  # as a later start does
    try:
        assert str(config.known_as).isascii()
        assert config.known_as.readlink() == config.folder
    finally:
        files.unlink(config)
    assert not config.known_as.is_symlink()


def test_a_link_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    config = replace(CONFIG, folder=tmp_path / "短信 批次")
    config.known_as.symlink_to(tmp_path)
    try:
        with pytest.raises(NodeError, match="is somebody else's"):
            files.link(config)
    finally:
        config.known_as.unlink()


@pytest.mark.parametrize("folder", ["/srv/with blanks", "/srv/é"])
def test_a_folder_that_rabbitmq_can_name_needs_no_link(folder: str) -> None:
    config = replace(CONFIG, folder=Path(folder))
    assert config.known_as == config.folder
    files.link(config)


def test_every_path_the_server_is_given_is_in_its_folder() -> None:
    environment = CONFIG.server_environment("/usr/bin")
    paths = {name: value for name, value in environment.items() if value.startswith("/") and name != "PATH"}
    outside = {name for name, value in paths.items() if not value.startswith("/srv/here")}
    assert outside == {"RABBITMQ_CONF_ENV_FILE"}
    assert environment["RABBITMQ_CONF_ENV_FILE"] == "/dev/null"


def test_management_prometheus_and_shovels_are_the_plugins() -> None:
    plugins = ["rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_shovel", "rabbitmq_shovel_management"]
    assert CONFIG.files()["enabled_plugins"] == f"[{','.join(plugins)}].\n"


def test_the_password_is_in_no_environment() -> None:
    environments = [CONFIG.server_environment("/usr/bin"), CONFIG.tool_environment("/usr/bin")]
    assert not any("made-up" in value for environment in environments for value in environment.values())


def test_only_the_server_carries_the_mark_that_stop_looks_for() -> None:
    assert CONFIG.server_environment("")[processes.MARK] == "/srv/here"
    assert processes.MARK not in CONFIG.tool_environment("")


def test_the_node_name_is_one_per_folder_and_stays() -> None:
    other = replace(CONFIG, folder=Path("/srv/there"))
    assert CONFIG.name == replace(CONFIG, amqp_port=22000).name
    assert CONFIG.name != other.name
    assert re.fullmatch(r"sms-[0-9a-f]{12}@localhost", CONFIG.name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user": "guest"}, "guest"),
        ({"password": "with # a comment"}, "letters, digits"),
        ({"password": ""}, "letters, digits"),
        ({"folder": Path("relative")}, "absolute"),
    ],
)
def test_values_that_cannot_work_are_refused_with_the_reason(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        NodeConfig(**(asdict(CONFIG) | change))


def test_a_new_node_can_be_loaded_again_with_the_same_values(tmp_path: Path) -> None:
    made = Node.with_free_ports(tmp_path / "node")
    assert Node.load(tmp_path / "node").config == made.config
    assert len(set(made.config.ports.values())) == 5
    assert len(made.config.password) >= 24


def test_what_holds_the_password_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    node = Node.with_free_ports(tmp_path / "node")
    holders = [path for path in node.folder.rglob("*") if path.is_file() and node.config.password in path.read_text()]
    assert {path.name for path in holders} == {"node.json", "rabbitmq.conf"}
    assert {_mode(path) for path in holders} == {0o600}
    assert _mode(node.folder) == 0o700


def test_writing_again_closes_a_file_that_had_been_opened_to_others(tmp_path: Path) -> None:
    node = Node.with_free_ports(tmp_path / "node")
    node.password_file.chmod(0o644)
    files.write(node.config)
    assert _mode(node.password_file) == 0o600


def test_a_folder_with_a_node_gets_no_second_password(tmp_path: Path) -> None:
    first = Node.with_free_ports(tmp_path)
    with pytest.raises(NodeError, match="has a node already"):
        Node.with_free_ports(tmp_path)
    assert Node.load_or_create(tmp_path).config == first.config


@pytest.mark.parametrize("content", ["not json", "[]", "{}", json.dumps({"amqp_port": 1, "colour": "red"})])
def test_a_node_file_that_makes_no_sense_is_named_in_the_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "node.json").write_text(content)
    with pytest.raises(NodeError, match=r"node\.json cannot be"):
        Node.load(tmp_path)


def test_a_port_with_a_listener_is_not_free_and_is_after_it_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)


def test_free_ports_are_different_and_outside_the_range_of_outgoing_connections() -> None:
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert all(ports.FIRST_PORT <= port <= ports.LAST_PORT < 32768 for port in found)


def test_processes_that_choose_at_the_same_time_are_given_different_ports() -> None:
    command = [sys.executable, "-c", "from tools.node.ports import free_ports; print(*free_ports(200))"]
    choosing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    given = [port for process in choosing for port in process.communicate(timeout=30)[0].split()]
    assert len(given) == len(set(given)) == 800


@pytest.mark.parametrize("kept", ["", "7", "99999", "no port at all"])
def test_a_port_given_last_that_makes_no_sense_is_passed_over(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    file = tmp_path / f"sms-batch-last-port-{os.getuid()}"
    file.write_text(kept)
    first, second = ports.free_ports(1)[0], ports.free_ports(1)[0]
    assert ports.FIRST_PORT <= first <= ports.LAST_PORT
    assert second != first
    assert file.read_text() == str(second)


def test_a_taken_port_is_named_before_anything_is_started(tmp_path: Path) -> None:
    scripts = _pretend_rabbitmq(tmp_path / "scripts")
    node = Node.with_free_ports(tmp_path / "node")
    port = node.config.management_port
    taken = pytest.raises(PortTakenError, match=rf"port {port} \(management\) is taken")
    with socket.create_server(("127.0.0.1", port)), taken:
        node.start(scripts=scripts)
    assert not node.config.startup_log.exists()


def test_a_server_that_ends_at_once_is_reported_with_what_it_said(tmp_path: Path) -> None:
    scripts = _pretend_rabbitmq(tmp_path / "scripts")
    with pytest.raises(NodeError, match=r"ended while starting; its log says: .*no Erlang today"):
        Node.with_free_ports(tmp_path / "node").start(scripts=scripts)


def test_errors_come_before_the_crash_report_that_follows_them(tmp_path: Path) -> None:
    node = Node.with_free_ports(tmp_path)
    noise = [f"2026-01-01 [error] <0.1.0>   neighbour {number}" for number in range(50)]
    node.config.startup_log.write_text("\n".join(["banner", "2026-01-01 [error] <0.1.0> no such setting", *noise]))
    said = files.last_words(node.config)
    assert "no such setting" in said
    assert "\n" not in said


def test_without_rabbitmq_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalledError, match="install the package rabbitmq-server"):
        install.scripts_folder(packaged=tmp_path)


def test_rabbitmq_is_found_beside_the_program_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = _pretend_rabbitmq(tmp_path / "opt")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rabbitmq-server").symlink_to(scripts / "rabbitmq-server")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert install.scripts_folder(packaged=tmp_path) == scripts


def test_a_marked_process_is_found_by_its_folder_and_only_by_that(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    marked = dict(os.environ) | {processes.MARK: str(tmp_path / "node")}
    with subprocess.Popen(sleeper, env=marked, stdin=subprocess.PIPE) as process:
        assert processes.wait_until(lambda: bool(processes.of_folder(tmp_path / "node")), timeout_s=10)
        assert [found.pid for found in processes.of_folder(tmp_path / "node")] == [process.pid]
        assert processes.of_folder(tmp_path) == []
        assert processes.of_folder(tmp_path / "node2") == []


def test_status_of_a_stopped_node_says_so_and_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Node.with_free_ports(tmp_path)
    assert main(["status", "--folder", str(tmp_path)]) == 3
    assert "is stopped" in capsys.readouterr().out


def test_a_folder_without_a_node_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--folder", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.splitlines() == [f"tools.node: there is no node in {tmp_path / 'none'}"]


def test_rabbitmqctl_needs_a_running_node(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="is not running"):
        Node.with_free_ports(tmp_path).rabbitmqctl("status")


def _pretend_rabbitmq(folder: Path) -> Path:
    """Scripts that look like RabbitMQ's; the server says one line and ends."""
    folder.mkdir()
    for name in ("rabbitmq-server", "rabbitmqctl"):
        (folder / name).write_text("#!/bin/sh\necho no Erlang today\nexit 1\n")
        (folder / name).chmod(0o755)
    return folder
