"""Files with numbers and texts in them, which are for their owner's eyes whatever the umask."""

import os
from pathlib import Path


def for_owner_only(path: str, flags: int) -> int:
    """An `opener` for `open`: a file that is made is its owner's only."""
    return os.open(path, flags, 0o600)


def make_for_owner_only(path: Path) -> None:
    """Make an empty file that is its owner's only, and its folder; what is there already stays as it is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
