"""The figures: the trade-off between what is kept and what the prompt got, and the drift over the steps of an edit."""

import io
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from piva.metrics.table import TABLES, Column
from piva.report.intervals import interval, over_seeds, paired
from piva.report.sections import EditKey, Section, Setting
from piva.report.tables import cell, rival_of
from piva.runs.run import Row

INK = "#010203"  # stands for the page's own text colour, which a dark page has light
COLOURS = ("#3b76c4", "#d9622b", "#3a9a5b", "#8a5cc2", "#c2458a", "#8c6d31", "#2aa3a3")
MARKS = "osD^vPX"
DRIFT = (
    "eval/clip",
    "eval/lpips",
    "truth/psnr",
    "eval/psnr",
)  # what is drawn over the steps, where it was measured
COLUMNS = {column.key: column for columns in TABLES.values() for column in columns}
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}


def tradeoff_svg(section: Section, x: str, y: str, baseline: str) -> str | None:
    """The section's trade-off as SVG to put into a page; None where no setting has both metrics."""
    if not _both(section, x, y):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        _tradeoff(figure.subplots(), section, x, y, baseline)
        return _svg(figure)


def save_tradeoff(sections: Sequence[Section], path: Path, x: str, y: str, baseline: str) -> bool:
    """The trade-off of each section that has both metrics, side by side in one PNG; False, and no file, where none has."""
    drawn = [section for section in sections if _both(section, x, y)]
    if not drawn:
        return False
    with matplotlib.rc_context(STYLE | {key: "#222222" for key, value in STYLE.items() if value == INK}):
        figure = Figure(figsize=(7.5 * len(drawn), 4.2), layout="constrained", dpi=130)
        for axes, section in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
            _tradeoff(axes, section, x, y, baseline)
            axes.set_title(section.title, fontsize=9)
        temporary = path.with_name(f".{path.name}.tmp")
        figure.savefig(temporary, format="png")
        temporary.replace(path)
    return True


def drift_svg(section: Section) -> str | None:
    """Metrics over the steps, a line a setting, its band the 95 % interval over edits; None without snapshots."""
    steps = {step for setting in section.settings for step in setting.snapshots}
    keys = [key for key in DRIFT if section.has(key)]
    if len(steps) < 2 or not keys:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.9 * len(keys) + 0.4, 3.6), layout="constrained")
        for axes, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
            for i, setting in enumerate(section.settings):
                _line(axes, setting, key, i)
            axes.set(title=_heading(key), xlabel="step")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return _svg(figure)


def _line(axes: Axes, setting: Setting, key: str, i: int) -> None:
    points = {step: interval(_at(edits, key).values()) for step, edits in setting.snapshots.items()}
    points = {step: value for step, value in points.items() if value.n}
    if not points:
        return
    means, halves = [p.mean for p in points.values()], [_finite(p.half) for p in points.values()]
    colour, style = COLOURS[i % len(COLOURS)], ("-", "--", ":", "-.")[i // len(COLOURS) % 4]
    axes.plot(
        list(points),
        means,
        style,
        color=colour,
        label=setting.label,
        marker=MARKS[i % len(MARKS)],
        markersize=3.5,
    )
    low, high = ([m + sign * h for m, h in zip(means, halves, strict=True)] for sign in (-1, 1))
    axes.fill_between(list(points), low, high, color=colour, alpha=0.08, linewidth=0)


def _at(edits: dict[EditKey, list[Row]], key: str) -> dict[EditKey, float]:
    values = {
        edit: [row[key] for row in rows if not math.isnan(row.get(key, math.nan))]
        for edit, rows in edits.items()
    }
    return over_seeds({edit: seeds for edit, seeds in values.items() if seeds})


def _tradeoff(axes: Axes, section: Section, x: str, y: str, baseline: str) -> None:
    scores = list(dict.fromkeys(setting.score for setting in section.settings))
    others = list(dict.fromkeys(setting.others for setting in section.settings))
    rivals = {setting.label: rival_of(setting, section.settings, baseline) for setting in section.settings}
    for curve in _curves(section.settings):
        first = curve[0]
        colour, mark = (
            COLOURS[scores.index(first.score) % len(COLOURS)],
            MARKS[others.index(first.others) % len(MARKS)],
        )
        points = [(setting, cell(setting, x).edits, cell(setting, y).edits) for setting in curve]
        points = [point for point in points if point[1].n and point[2].n]
        if not points:
            continue
        label = ", ".join([first.score, *(f"{name} {value}" for name, value in first.others)])
        rival = rivals[first.label] if first.lam is not None else None
        if rival and cell(rival, x).edits.n and cell(rival, y).edits.n:  # lambda 0 is DDS
            start = (cell(rival, x).edits.mean, cell(rival, y).edits.mean)
            axes.plot(
                [start[0], points[0][1].mean], [start[1], points[0][2].mean], ":", color=colour, linewidth=1.2
            )
        axes.plot(
            [p[1].mean for p in points],
            [p[2].mean for p in points],
            "-",
            color=colour,
            marker=mark,
            label=label,
        )
        for setting, across, up in points:
            halves = [_half(setting, list(rivals.values()), rivals[setting.label], key) for key in (x, y)]
            _cross(axes, (across.mean, up.mean), halves, colour)
            if setting.lam is not None:
                place = (across.mean, up.mean)
                axes.annotate(
                    f"λ {setting.lam:g}", place, textcoords="offset points", xytext=(5, 5), fontsize=8
                )
    axes.set(xlabel=_heading(x), ylabel=_heading(y))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)


def _half(setting: Setting, rivals: Sequence[Setting | None], rival: Setting | None, key: str) -> float:
    """Half of the 95 % interval of the difference to the rival, edit by edit: how far apart two edits are says nothing about
    which setting is better. A rival itself has none; a setting without one has that of its mean over the edits.
    """
    if rival:
        return _finite(paired(setting.values(key), rival.values(key)).difference.half)
    return 0.0 if setting in rivals else _finite(cell(setting, key).edits.half)


def _cross(axes: Axes, place: tuple[float, float], halves: Sequence[float], colour: str) -> None:
    axes.errorbar(
        [place[0]], [place[1]], xerr=[halves[0]], yerr=[halves[1]], color=colour, alpha=0.3, linewidth=1
    )


def _curves(settings: Sequence[Setting]) -> Iterator[list[Setting]]:
    """Settings that differ in lambda alone, in its order; a score without it is a curve of one point."""
    curves: dict[tuple[object, ...], list[Setting]] = defaultdict(list)
    for setting in settings:
        curves[setting.score, setting.others].append(setting)
    for curve in curves.values():
        yield sorted(curve, key=lambda setting: setting.lam or 0.0)


def _both(section: Section, x: str, y: str) -> bool:
    return any(setting.values(x) and setting.values(y) for setting in section.settings)


def _heading(key: str) -> str:
    column = COLUMNS.get(key, Column(key, key, 1, 3, 0))
    return column.heading if column.factor == 1 else key  # axes show raw values


def _finite(half: float) -> float:
    return half if math.isfinite(half) else 0.0


def _svg(figure: Figure) -> str:
    """Inline SVG in the page's ink, without the ids that several figures of one page would share."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": str(id(figure))}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'<g id="[^"]*"', "<g", svg)
