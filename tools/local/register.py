"""The register of what was started: processes.json in the run folder, by name."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from shared.files import for_owner_only
from tools.local.errors import LocalError
from tools.local.processes import Started


class Register:
    """What runs here, across calls of the command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "processes.json"

    def running(self) -> dict[str, Started]:
        """The processes that were started and still run, by name."""
        return {name: process for name, process in self._read().items() if process.alive}

    def write(self, processes: Mapping[str, Started]) -> None:
        """Keep these and forget all others."""
        draft = self._file.with_suffix(".new")
        with open(draft, "w", opener=for_owner_only) as file:
            file.write(json.dumps({name: asdict(process) for name, process in processes.items()}, indent=2) + "\n")
        draft.replace(self._file)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One `up` or `down` at a time."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / "local.lock", "w", opener=for_owner_only) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Started]:
        try:
            entries = json.loads(self._file.read_text())
            return {name: Started(**entry) for name, entry in entries.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise LocalError(f"{self._file} cannot be read: {error}") from None
