"""Files that are named on the command line."""

import sys
from pathlib import Path

from tools.ctl.errors import UsageError


def read_bytes(path: Path) -> bytes:
    """The file's content, or standard input's for `-`."""
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
