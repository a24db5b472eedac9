"""Prometheus' own checker of rules."""

import shutil
import subprocess
from pathlib import Path

from tests.support.machine import missing

ROOT = Path(__file__).parents[2]
_OURS = ROOT / ".run/bin"


def promtool(*arguments: str | Path) -> str:
    """What promtool prints; AssertionError where it finds something wrong. Skips where there is none."""
    program = shutil.which("promtool") or shutil.which("promtool", path=_OURS)
    if program is None:
        missing(f"promtool is neither installed nor in {_OURS.relative_to(ROOT)}: run tools/setup.sh packages test")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
