"""A run as a picture, SVG and PNG: medians as bars, and the lowest and the highest round as a line on each."""

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator

from benchmarks.accept import LARGE, Accepting
from benchmarks.contenders import OURS, OURS_MANY
from benchmarks.drain import BROKER, DATABASE, Drained
from benchmarks.figures import short
from benchmarks.pollers import CLIENTS
from benchmarks.report import Report, cpu_us_by_part
from benchmarks.senders import MANY

_OURS, _OTHERS, _BROKER, _DATABASE = "#1f6f8b", "#b8bec4", "#e0a458", "#8c6bb1"
Bars = dict[str, Sequence[float]]
"""Figures by name, one for each round."""


def draw(report: Report, into: Path) -> None:
    """Write `latest.svg` and `latest.png`, and `stages` of both kinds; the same report gives the same SVG."""
    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "sms-batch", "font.size": 9, "axes.spines.top": False})
    _figure(report, _panels(report), into / "latest")
    if report.draining and OURS in report.draining:
        draining = report.draining
        _figure(report, [lambda axis: _stages(axis, draining)], into / "stages")


def _figure(report: Report, panels: Sequence[Callable[[Axes], None]], file: Path) -> None:
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(5.5 * columns, 3 * rows + 0.5), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        panel(axis)
        axis.spines["right"].set_visible(False)
    figure.suptitle(f"{report.about['machine']}\n{report.about['broker']}, {report.about['database']}", fontsize=8)
    figure.tight_layout()
    figure.savefig(file.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(file.with_suffix(".png"), dpi=150)
    pyplot.close(figure)


def _panels(report: Report) -> list[Callable[[Axes], None]]:
    panels: list[Callable[[Axes], None]] = []
    if report.draining:
        draining = report.draining
        panels += [lambda axis: _rates(axis, draining), lambda axis: _cpu(axis, draining)]
        panels += [lambda axis: _memory(axis, draining)]
    if report.accepting:
        accepting = report.accepting
        panels.append(lambda axis: _accept(axis, accepting))
    if report.splitting and report.splitting.native:
        split: Bars = {OURS: report.splitting.ours, "C client,\nonly publishes": report.splitting.native}
        panels.append(lambda axis: _bars(axis, "Splitting: numbers per second", split))
    if report.scaling:
        scaling: Bars = {"1 sender": report.scaling.one, f"{MANY} senders": report.scaling.many}
        panels.append(lambda axis: _bars(axis, "A provider that takes 100 ms: numbers per second", scaling))
    if report.polling:
        polling: Bars = {OURS: report.polling.alone, f"{OURS},\n{CLIENTS:,} ask": report.polling.beside}
        panels.append(lambda axis: _bars(axis, "While clients ask for the batch's status: numbers per second", polling))
    return panels


def _rates(axis: Axes, draining: dict[str, list[Drained]]) -> None:
    rates: Bars = {name: [run.numbers_per_s for run in runs] for name, runs in draining.items()}
    _bars(axis, "Draining with two senders: numbers per second", rates)


def _memory(axis: Axes, draining: dict[str, list[Drained]]) -> None:
    peaks: Bars = {name: [run.memory.sum_mib for run in runs] for name, runs in draining.items()}
    _bars(axis, "Peak memory of all its processes: MiB", peaks)


def _cpu(axis: Axes, draining: dict[str, list[Drained]]) -> None:
    names, left = [_broken(name) for name in draining], [0.0] * len(draining)
    parts: dict[str, Callable[[Drained], float]] = {
        "its processes": lambda run: run.own_cpu_s,
        "broker": lambda run: run.cpu_s_by_part[BROKER],
        "database": lambda run: run.cpu_s_by_part[DATABASE],
    }
    for (label, figure), colour in zip(parts.items(), (_OURS, _BROKER, _DATABASE), strict=True):
        widths = [statistics.median(figure(run) for run in runs) for runs in draining.values()]
        axis.barh(names, widths, left=left, color=colour, label=label)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axis.invert_yaxis()
    axis.legend(frameon=False, fontsize=8)
    axis.set_title("CPU seconds per 10,000 numbers", loc="left")


def _stages(axis: Axes, draining: dict[str, list[Drained]]) -> None:
    """One bar for each part of the system, ours with one number per call and with a hundred beside each other."""
    height = 0.4
    for place, (name, colour) in enumerate(((OURS, _OURS), (OURS_MANY, _BROKER))):
        if name not in draining:
            continue
        by_part = cpu_us_by_part(draining[name])
        at = [row + place * height for row in range(len(by_part))]
        drawn = axis.barh(at, list(by_part.values()), height, color=colour, label=name)
        axis.bar_label(drawn, [short(value) for value in by_part.values()], padding=4)
        if place == 0:
            axis.set_yticks([row + height / 2 for row in range(len(by_part))], list(by_part))
    axis.invert_yaxis()
    axis.margins(x=0.18)
    axis.legend(frameon=False, fontsize=8)
    axis.set_title("Where a number's CPU goes: µs", loc="left")


def _accept(axis: Axes, accepting: Accepting) -> None:
    bars: Bars = {}
    for size, ours in accepting.ours.items():
        bars[f"{OURS}, {size:,}"] = [times.p99_ms for times in ours]
        bars[f"bare handler, {size:,}"] = [times.p99_ms for times in accepting.bare[size]]
    bars[f"{OURS}, 1 while\nothers send {LARGE:,}"] = [times.p99_ms for times in accepting.beside]
    _bars(axis, "Accepting so many recipients: p99, ms", bars)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(LogFormatter())


def _bars(axis: Axes, title: str, bars: Bars) -> None:
    medians = [statistics.median(values) for values in bars.values()]
    below = [middle - min(values) for middle, values in zip(medians, bars.values(), strict=True)]
    above = [max(values) - middle for middle, values in zip(medians, bars.values(), strict=True)]
    colours = [_OURS if name.startswith(OURS) or "sender" in name else _OTHERS for name in bars]
    drawn = axis.barh([_broken(name) for name in bars], medians, color=colours, xerr=[below, above], ecolor="#444")
    axis.bar_label(drawn, [short(middle) for middle in medians], padding=6)
    axis.invert_yaxis()
    axis.margins(x=0.18)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_title(title, loc="left")


def _broken(name: str) -> str:
    return name.replace(f"{OURS}, ", f"{OURS},\n") if name == OURS_MANY else name
