"""A run as a page: the ratios first, then the raw figures. No I/O."""

import statistics
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.accept import LARGE, Accepting, Times
from benchmarks.contenders import OURS, OURS_MANY
from benchmarks.drain import BROKER, DATABASE, Drained
from benchmarks.figures import short
from benchmarks.pollers import CLIENTS, EVERY_S, Polled
from benchmarks.report import Report, comparisons, cpu_us_by_part, recipients


def page(report: Report) -> str:
    """The whole page."""
    return "\n".join(
        [
            "# Benchmark",
            "",
            "Written by `make bench`. All figures are medians of the rounds of one run on one machine, and a ratio is",
            "that of two medians; in brackets the lowest and the highest round. What is compared ran in turns.",
            "",
            *_about(report),
            *_ratios(report),
            *(_accepting(report.accepting) if report.accepting else ()),
            *(_draining(report.draining) if report.draining else ()),
            *(_polling(report.polling) if report.polling else ()),
        ]
    )


def _about(report: Report) -> Iterator[str]:
    yield from _table(["", ""], report.about.items())


def _ratios(report: Report) -> Iterator[str]:
    yield "## Ratios\n"
    rows = [
        [it.what, str(it.ratio), f"{_median(it.ours)} ÷ {_median(it.other)}", it.unit] for it in comparisons(report)
    ]
    yield from _table(["", "ratio", "medians", "unit"], rows)


def _accepting(accepting: Accepting) -> Iterator[str]:
    yield "## Accepting (ms)\n"
    rows = [[recipients(size), *_times(ours), *_times(accepting.bare[size])] for size, ours in accepting.ours.items()]
    rows.append([f"1 recipient, while batches of {LARGE:,} are accepted", *_times(accepting.beside), "", ""])
    yield from _table(["", "p50", "p99", "bare handler p50", "p99"], rows)


def _times(rounds: Sequence[Times]) -> tuple[str, str]:
    return _median(times.p50_ms for times in rounds), _median(times.p99_ms for times in rounds)


def _draining(draining: dict[str, list[Drained]]) -> Iterator[str]:
    yield "## Draining\n"
    yield "From handing in a batch to the provider's last call, two senders. CPU seconds are per 10,000 numbers; memory"
    yield "is the peak of the contender's own processes: added up, and of the largest.\n"
    heads = ["", "numbers/s", "slowest to fastest", "CPU s: own", "broker", "database", "memory MiB: all", "largest"]
    yield from _table(heads, ([name, *_drained(runs)] for name, runs in draining.items()))
    ours = [name for name in (OURS, OURS_MANY) if name in draining]
    if ours:
        yield "## Where a number's CPU goes (µs)\n"
        split = [cpu_us_by_part(draining[name]) for name in ours]
        rows = ([part, *(short(by_part[part]) for by_part in split)] for part in split[0])
        yield from _table(["", *ours], [*rows, ["together", *(short(sum(by_part.values())) for by_part in split)]])


def _polling(polling: Polled) -> Iterator[str]:
    yield "## Draining beside pollers\n"
    yield f"{CLIENTS:,} clients that each ask for the status every {EVERY_S:g} s, on the same machine; with Redis.\n"
    rows = [[_median(polling.alone), _median(polling.beside), _median(polling.answers_per_s)]]
    yield from _table(["numbers/s, nobody asks", "numbers/s beside them", "answers/s that they got"], rows)


def _drained(runs: Sequence[Drained]) -> list[str]:
    rates = [run.numbers_per_s for run in runs]
    return [
        _median(rates),
        f"{short(min(rates))} to {short(max(rates))}",
        _median(run.own_cpu_s for run in runs),
        _median(run.cpu_s_by_part[BROKER] for run in runs),
        _median(run.cpu_s_by_part[DATABASE] for run in runs),
        _median(run.memory.sum_mib for run in runs),
        _median(run.memory.largest_mib for run in runs),
    ]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _median(values: Iterable[float]) -> str:
    return short(statistics.median(values))
