"""The files in a node's folder: what the server reads, what a later process finds the node by, what the log says."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.node.config import NodeConfig
from tools.node.errors import NodeError

NODE_FILE = "node.json"
LOG_LINES_SHOWN = 5


def write(config: NodeConfig) -> None:
    """Write node.json and the server's configuration into the node's folder, readable by their owner only."""
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("home", "log", "conf.d"):
        (config.folder / name).mkdir(mode=0o700, exist_ok=True)
    values = asdict(config)
    del values["folder"]  # it is where node.json is
    _write_private(config.folder / NODE_FILE, json.dumps(values, indent=2) + "\n")
    for name, text in config.files().items():
        _write_private(config.folder / name, text)


def link(config: NodeConfig) -> None:
    """See to the link that RabbitMQ knows the folder by, where it needs one; a NodeError where somebody else has it."""
    if config.known_as == config.folder:
        return
    try:
        config.known_as.symlink_to(config.folder)
    except FileExistsError:
        is_ours = config.known_as.is_symlink() and config.known_as.lstat().st_uid == os.getuid()
        if not is_ours or config.known_as.readlink() != config.folder:
            raise NodeError(f"{config.known_as} is somebody else's: remove it, or use another folder") from None


def unlink(config: NodeConfig) -> None:
    """Remove the link."""
    if config.known_as != config.folder and config.known_as.is_symlink():
        config.known_as.unlink()


def read(folder: Path) -> dict[str, Any]:
    """The values kept in node.json; raises NodeError when there is none or it is not JSON."""
    try:
        values = json.loads((folder / NODE_FILE).read_text())
    except FileNotFoundError:
        raise NodeError(f"there is no node in {folder}") from None
    except ValueError as error:
        raise NodeError(f"{folder / NODE_FILE} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise NodeError(f"{folder / NODE_FILE} cannot be read: it is not a JSON object")
    return values


def last_words(config: NodeConfig) -> str:
    """The first errors the last start printed (a crash report follows them), or else the log's last lines; one line."""
    printed, logged = _lines(config.startup_log), _lines(config.log_file)
    errors = [line for line in printed if "[error]" in line and not line.endswith(">")]
    shown = errors[:LOG_LINES_SHOWN] or (logged or printed)[-LOG_LINES_SHOWN:]
    return " | ".join(shown) or "(nothing)"


def _lines(log: Path) -> list[str]:
    text = log.read_text(errors="replace") if log.exists() else ""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _write_private(path: Path, text: str) -> None:
    """Write for the owner's eyes only, also when the file was there before; whole, or not at all."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
