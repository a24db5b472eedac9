"""A clock of a process's own, which a test sets while it runs: libfaketime, loaded into the process."""

from pathlib import Path

from tests.support.machine import NotHere

_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib64/faketime/libfaketimeMT.so.1")


class WrongClock:
    """As far from this machine's clock as the file says; what runs on the monotonic clock is as it always is."""

    def __init__(self, file: Path) -> None:
        """Right at first. Raises NotHere."""
        self._library = _library()
        self._file = file
        self.set(0)

    def set(self, ahead_s: int) -> None:
        """Let it jump; negative for behind."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}\n")
        new.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """For the processes that go by it."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def _library() -> Path:
    found = [path for place in _PLACES for path in Path("/").glob(place.removeprefix("/"))]
    if not found:
        raise NotHere("libfaketime is not installed: install the package libfaketime (Debian, Ubuntu)")
    return found[0]
