"""Does the fault suite notice? Breaks copies of the code, each in one way, and runs what must fail then.

`python -m tests.faults.selfcheck [--quick] [--jobs=N] [words of a mistake …]`: exit status 1 where a breakage went
unnoticed; with `--quick`, by those scenarios that are part of `make test`. Two at a time keep two cores busy: most of
a scenario is waiting.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults.breakages import BREAKAGES, Breakage

ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 900
_NOTHING_CHOSEN = 5
_FINISH_S = 30
"""A broken build never finishes: no need to wait as long as for a sound one."""
_COPIED = ("services", "shared", "tools", "tests", "pyproject.toml", "docker-compose.yml", "docker-compose.cluster.yml")
_ERRORS = re.compile(r"^ERROR tests/", re.MULTILINE)
_COUNTED = re.compile(r"^\| (?P<scenario>\d+) \|.*?\| (?P<runs>\d+) \| (?P<failed>\d+) \|", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Run the breakages whose mistake has one of the words, or all; print what came of each."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.selfcheck")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args(arguments)
    chosen = [item for item in BREAKAGES if not options.words or any(word in item.mistake for word in options.words)]
    unnoticed = 0
    print("| the mistake | scenario | noticed | seconds |\n|---|---|---|---|", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        tried = pool.map(partial(_tried, quick=options.quick), chosen)
        for breakage, (failed, seconds) in zip(chosen, tried, strict=True):
            for scenario in breakage.scenarios:
                noticed = scenario in failed
                unnoticed += not noticed
                print(f"| {breakage.mistake} | {scenario} | {'yes' if noticed else 'NO'} | {seconds:.0f} |", flush=True)
    return 1 if unnoticed else 0


def _tried(breakage: Breakage, *, quick: bool) -> tuple[set[int], float]:
    """The scenarios that failed, and the seconds it took."""
    began_at_s = time.monotonic()
    return _failed_scenarios(breakage, quick=quick), time.monotonic() - began_at_s


def _failed_scenarios(breakage: Breakage, *, quick: bool) -> set[int]:
    with _broken_copy(breakage) as copy:
        scenarios = [f"--scenario={number}" for number in breakage.scenarios]
        only = ["-k", breakage.only] if breakage.only and not quick else []
        selection = [] if quick else ["--all-faults"]
        command = [
            sys.executable, "-m", "pytest", "tests/faults", *selection, "--first-broker", *scenarios, *only,
            f"--finish-within={_FINISH_S}", "-q", "-p", "no:cacheprovider",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode not in (0, 1, _NOTHING_CHOSEN) or _ERRORS.search(
        done.stdout
    ):  # neither passed nor failed: the run is broken
        sys.exit(f"{breakage.mistake}: pytest ended with {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    lines = _COUNTED.finditer(done.stdout)
    return {int(line["scenario"]) for line in lines if int(line["failed"])}


@contextmanager
def _broken_copy(breakage: Breakage) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sms-broken-") as folder:
        copy = Path(folder)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            else:
                shutil.copy(source, copy / name)
        for edit in breakage.edits:
            path = copy / edit.file
            text = path.read_text()
            if text.count(edit.old) != 1:
                sys.exit(f"{breakage.mistake}: {edit.file} has this {text.count(edit.old)} times: {edit.old!r}")
            path.write_text(text.replace(edit.old, edit.new))
        yield copy


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
