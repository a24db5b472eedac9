"""All that one run has measured, and the comparisons that follow from it. No I/O."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.accept import Accepting
from benchmarks.contenders import OURS, OURS_MANY
from benchmarks.drain import Drained
from benchmarks.figures import Ratio, ratio
from benchmarks.pollers import CLIENTS, EVERY_S, Polled
from benchmarks.senders import MANY, Scaling
from benchmarks.split import Splitting


@dataclass(frozen=True, slots=True)
class Report:
    """One run. A part that was not asked for is None; every figure is there once for each round."""

    about: dict[str, str]
    """When, on which machine, with which versions."""
    accepting: Accepting | None = None
    splitting: Splitting | None = None
    draining: dict[str, list[Drained]] | None = None
    scaling: Scaling | None = None
    polling: Polled | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure of ours beside another's, both with a value for each round."""

    what: str
    ours: list[float]
    other: list[float]
    unit: str

    @property
    def ratio(self) -> Ratio:
        """Ours divided by the other."""
        return ratio(self.ours, self.other)


def comparisons(report: Report) -> list[Comparison]:
    """Every ratio that the run has the figures for."""
    return [*_accepting(report), *_splitting(report), *_draining(report), *_scaling(report), *_polling(report)]


def frameworks_by_rate(draining: dict[str, list[Drained]]) -> list[str]:
    """The frameworks, the fastest (by its median) first."""
    names = [name for name in draining if name not in (OURS, OURS_MANY)]
    return sorted(names, key=lambda name: -statistics.median(run.numbers_per_s for run in draining[name]))


def cpu_us_by_part(runs: Sequence[Drained]) -> dict[str, float]:
    """The microseconds that one number costs each part, medians of the rounds."""
    us_per_number = 1_000_000 / 10_000
    return {
        part: us_per_number * statistics.median(run.cpu_s_by_part[part] for run in runs)
        for part in runs[0].cpu_s_by_part
    }


def recipients(count: int) -> str:
    """So many, in words."""
    return f"{count:,} recipient{'s' * (count != 1)}"


def _accepting(report: Report) -> Iterator[Comparison]:
    if report.accepting is None:
        return
    for size, ours in report.accepting.ours.items():
        bare = report.accepting.bare[size]
        what = f"accept {recipients(size)}, p99: sms-batch ÷ bare aiohttp handler"
        yield Comparison(what, [times.p99_ms for times in ours], [times.p99_ms for times in bare], "ms")


def _splitting(report: Report) -> Iterator[Comparison]:
    if report.splitting is not None and report.splitting.native:
        what = "split, ledger rows written: sms-batch ÷ C client that only publishes"
        yield Comparison(what, report.splitting.ours, report.splitting.native, "numbers/s")


def _draining(report: Report) -> Iterator[Comparison]:
    draining = report.draining or {}
    frameworks = frameworks_by_rate(draining)
    for name in (OURS, OURS_MANY):
        for framework in frameworks if name in draining else ():
            ours, other = draining[name], draining[framework]
            rates = [run.numbers_per_s for run in ours], [run.numbers_per_s for run in other]
            yield Comparison(f"drain: {name} ÷ {framework}", *rates, "numbers/s")
    for framework in frameworks[:1] if OURS in draining else ():
        ours, other = draining[OURS], draining[framework]
        cpu = [run.cpu_s for run in ours], [run.cpu_s for run in other]
        yield Comparison(f"CPU, all processes and servers: {OURS} ÷ {framework}", *cpu, "s per 10,000 numbers")
        memory = [run.memory.sum_mib for run in ours], [run.memory.sum_mib for run in other]
        yield Comparison(f"peak memory, all processes: {OURS} ÷ {framework}", *memory, "MiB")


def _scaling(report: Report) -> Iterator[Comparison]:
    if report.scaling is not None:
        what = f"drain with a provider that takes 100 ms: {MANY} senders ÷ 1"
        yield Comparison(what, report.scaling.many, report.scaling.one, "numbers/s")


def _polling(report: Report) -> Iterator[Comparison]:
    if report.polling is not None:
        what = f"drain, Redis there: {CLIENTS:,} pollers, each every {EVERY_S:g} s ÷ none"
        yield Comparison(what, report.polling.beside, report.polling.alone, "numbers/s")
