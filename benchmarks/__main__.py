"""`python -m benchmarks`: measures accepting, splitting, draining, more senders and pollers, and writes it down."""

import argparse
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import orjson

from benchmarks import accept, drain, machine, markdown, plot, pollers, senders, split
from benchmarks.contenders import contenders
from benchmarks.parts import Parts, running_parts
from benchmarks.report import Report

PARTS = ("accept", "split", "drain", "senders", "pollers")
RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Measure what is asked for, one thing at a time, and write `latest.json`, `.md`, `.svg` and `.png`."""
    options = _parser().parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    # The containers end with this process; the extra one that would see to that is only more to run beside it.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    with tempfile.TemporaryDirectory() as folder, running_parts(Path(folder)) as parts:
        report = _measured(parts, options)
    _write(report, options.into)
    print(f"\n{markdown.page(report)}\nWritten to {options.into}")


def _measured(parts: Parts, options: argparse.Namespace) -> Report:
    sizes = {"rounds": str(options.rounds), "drained": f"{options.numbers:,}", "split": f"{options.split_numbers:,}"}
    report = Report({**machine.about(parts), **machine.frameworks(), **sizes})
    if "accept" in options.only:
        print("Accepting")
        report = replace(report, accepting=accept.measured(parts, options.rounds))
    if "split" in options.only:
        print("Splitting")
        report = replace(report, splitting=split.measured(parts, options.rounds, options.split_numbers))
    if "drain" in options.only:
        print("Draining")
        report = replace(report, draining=drain.in_turns(parts, contenders(), options.rounds, options.numbers))
    if "senders" in options.only:
        print("More senders")
        report = replace(report, scaling=senders.measured(parts, options.rounds))
    if "pollers" in options.only:
        print("Pollers")
        report = replace(report, polling=pollers.measured(parts, options.rounds))
    return report


def _write(report: Report, into: Path) -> None:
    encoded = orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    (into / "latest.json").write_bytes(encoded + b"\n")
    (into / "latest.md").write_text(markdown.page(report))
    plot.draw(report, into)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", type=_parts, default=PARTS, metavar=",".join(PARTS), help="default: all of them")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (%(default)s)")
    parser.add_argument("--numbers", type=int, default=20_000, help="in a batch that is drained (%(default)s)")
    parser.add_argument("--split-numbers", type=int, default=80_000, help="in a batch that is split (%(default)s)")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder for the results (%(default)s)")
    return parser


def _parts(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if unknown := set(chosen) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(unknown))}")
    return chosen


if __name__ == "__main__":
    main()
