"""The figures: the trade-off between fidelity and prompt alignment, and the drift over an edit's steps."""

import io
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Bbox

from piva.files import atomic
from piva.metrics.table import TABLES, Column
from piva.report.intervals import interval, over_seeds, paired
from piva.report.sections import PASSES, Section, Setting
from piva.report.tables import baseline_of, cell

INK = "#010203"  # stands for the page's own text colour, which a dark page has light
COLOURS = ("#3b76c4", "#d9622b", "#3a9a5b", "#8a5cc2", "#c2458a", "#8c6d31", "#2aa3a3")
MARKS = "osD^vPX"
TAB20 = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
PALETTE = TAB20[::2] + TAB20[1::2]  # first the dark ones of its pairs
SIDES = [  # of a dot, where its name may stand: points across and up, and what of the text is there
    (5, 5, "left", "bottom"),
    (-5, 5, "right", "bottom"),
    (5, -5, "left", "top"),
    (-5, -5, "right", "top"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
]
DRIFT = ("eval/clip", "eval/lpips", "truth/psnr", "eval/psnr")  # drawn over the steps, where measured
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
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color"), INK),
    **dict.fromkeys(("ytick.color", "grid.color"), INK),
}


def tradeoff_svg(section: Section, x: str, y: str, baseline: str) -> str | None:
    """Return the section's trade-off as SVG for a page; None unless two settings have both metrics."""
    if _both(section, x, y) < 2:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 4.2), layout="constrained")
        _tradeoff(figure.subplots(), section, x, y, baseline)
        return _svg(figure)


def save_tradeoff(sections: Sequence[Section], path: Path, x: str, y: str, baseline: str) -> bool:
    """Draw the trade-offs of sections with both metrics into one PNG; return False if there is none."""
    drawn = [section for section in sections if _both(section, x, y)]
    if not drawn:
        return False
    with matplotlib.rc_context(STYLE | {key: "#222222" for key, value in STYLE.items() if value == INK}):
        figure = Figure(figsize=(7.5 * len(drawn), 4.2), layout="constrained", dpi=130)
        for axes, section in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
            _tradeoff(axes, section, x, y, baseline)
            axes.set_title(section.title, fontsize=9)
        with atomic(path) as temporary:
            figure.savefig(temporary, format="png")
    return True


def drift_svg(section: Section) -> str | None:
    """Draw metrics over the steps, a line a setting with its 95 % interval; None without snapshots."""
    steps = {step for setting in section.settings for step in setting.snapshots}
    keys = [key for key in DRIFT if section.has(key)]
    if len(steps) < 2 or not keys:
        return None
    with matplotlib.rc_context(STYLE):
        rows, columns = math.ceil(len(keys) / 2), min(len(keys), 2)
        figure = Figure(figsize=(2.6 * columns, 2.4 * rows + 0.6), layout="constrained")
        for axes, key in zip(figure.subplots(rows, columns, squeeze=False).flat, keys, strict=False):
            for i, setting in enumerate(section.settings):
                _line(axes, setting, key, i)
            axes.set(title=_heading(key), xlabel="step")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return _svg(figure)


def _line(axes: Axes, setting: Setting, key: str, i: int) -> None:
    points = {}
    for step, edits in setting.snapshots.items():
        known = {edit: [row.get(key, math.nan) for row in rows] for edit, rows in edits.items()}
        values = {edit: [v for v in seeds if not math.isnan(v)] for edit, seeds in known.items()}
        points[step] = interval(over_seeds({edit: seeds for edit, seeds in values.items() if seeds}).values())
    points = {step: value for step, value in points.items() if value.n}
    if not points:
        return
    colour, style = COLOURS[i % len(COLOURS)], ("-", "--", ":", "-.")[i // len(COLOURS) % 4]
    look: dict[str, Any] = {"label": setting.label, "marker": MARKS[i % len(MARKS)], "markersize": 3.5}
    axes.plot(list(points), [p.mean for p in points.values()], style, color=colour, **look)
    low, high = ([p.mean + sign * _finite(p.half) for p in points.values()] for sign in (-1, 1))
    axes.fill_between(list(points), low, high, color=colour, alpha=0.08, linewidth=0)


def _tradeoff(axes: Axes, section: Section, x: str, y: str, baseline: str) -> None:
    if x == PASSES:
        _budgets(axes, section, y)
        return
    scores = list(dict.fromkeys(setting.score for setting in section.settings))
    others = list(dict.fromkeys(setting.others for setting in section.settings))
    baselines = {s.label: baseline_of(s, section.settings, baseline) for s in section.settings}
    named: list[tuple[str, tuple[float, float]]] = []
    for curve in _curves(section.settings, "lambda"):
        first = curve[0]
        colour = COLOURS[scores.index(first.score) % len(COLOURS)]
        mark = MARKS[others.index(first.others) % len(MARKS)]
        places = [_place(setting, x, y) for setting in curve]
        if first.lam is not None and (base := baselines[first.label]):  # lambda 0 is DDS
            start = _place(base, x, y)
            if not any(map(math.isnan, start)):
                axes.plot(*zip(start, places[0], strict=True), ":", color=colour, linewidth=1.2)
        label = _method(first, "λ") if len(curve) > 1 else first.label
        axes.plot(*zip(*places, strict=True), "-", color=colour, marker=mark, label=label)
        for setting, place in zip(curve, places, strict=True):
            halves = [
                _half(setting, list(baselines.values()), baselines[setting.label], key) for key in (x, y)
            ]
            cross: dict[str, Any] = {"color": colour, "alpha": 0.3, "linewidth": 1}
            axes.errorbar([place[0]], [place[1]], xerr=[halves[0]], yerr=[halves[1]], **cross)
            named += [(f"λ {setting.lam:g}", place)] if len(curve) > 1 else []
    axes.set(xlabel=_heading(x), ylabel=_heading(y))
    shown = [_place(setting, x, y) for setting in section.settings]
    _stay_near(axes.get_xlim, axes.set_xlim, [place[0] for place in shown])
    _stay_near(axes.get_ylim, axes.set_ylim, [place[1] for place in shown])
    labels = axes.get_legend_handles_labels()[1]
    columns = max(1, 72 // (max(map(len, map(str, labels))) + 8))  # characters that fit below the figure
    _at_least_high(axes, 3.6 + 0.17 * math.ceil(len(labels) / columns))
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.6 / 3.4), ncols=columns, fontsize=8)
    _name_places(axes, named)


def _name_places(axes: Axes, named: Sequence[tuple[str, tuple[float, float]]]) -> None:
    """Write names beside their places, on a side that is free; a name without a free side is left out."""
    _figure(axes).draw_without_rendering()  # where things are is known once they are laid out
    dots = [
        Bbox.from_bounds(x - 4, y - 4, 8, 8)
        for x, y in (axes.transData.transform(place) for _, place in named)
    ]
    taken: list[Bbox] = []
    for name, place in named:
        if any(map(math.isnan, place)):
            continue
        for dx, dy, across, up in SIDES:
            look: dict[str, Any] = {"ha": across, "va": up, "fontsize": 8, "textcoords": "offset points"}
            text = axes.annotate(name, place, xytext=(dx, dy), **look)
            text.set_in_layout(False)
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in (*taken, *dots)) and axes.bbox.contains(*box.max):
                taken.append(box)
                break
            text.remove()


def _budgets(axes: Axes, section: Section, y: str) -> None:
    """Draw one metric over the passes an edit, a curve a method, named where they end."""
    curves = [
        [
            (setting, _place(setting, PASSES, y))
            for setting in curve
            if setting.values(PASSES) and setting.values(y)
        ]
        for curve in _curves(section.settings, "steps")
    ]
    curves = [curve for curve in curves if curve]
    curves.sort(key=lambda curve: curve[-1][1][1], reverse=True)
    for i, curve in enumerate(curves):
        look: dict[str, Any] = {"color": PALETTE[i % len(PALETTE)], "marker": MARKS[i % len(MARKS)]}
        axes.plot(*zip(*(place for _, place in curve), strict=True), markersize=4, **look)
        for setting, place in curve:
            if seeds := cell(setting, y).seeds:
                axes.errorbar(*place, yerr=[_finite(seeds.half)], color=look["color"], alpha=0.5, linewidth=1)
    _stay_near(axes.get_ylim, axes.set_ylim, [place[1] for curve in curves for _, place in curve])
    ticks = sorted({round(place[0], -1) or round(place[0]) for curve in curves for _, place in curve})
    axes.set(xscale="log", xlabel="network passes an edit", ylabel=_heading(y))
    axes.set_xticks([t for t, after in pairwise([*ticks, math.inf]) if after > 1.2 * t], minor=False)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    _name_ends(axes, [(_method(curve[0][0], "steps"), curve[-1][1]) for curve in curves])


def _name_ends(axes: Axes, ends: Sequence[tuple[str, tuple[float, float]]]) -> None:
    """Write the names of curves, sorted downwards by where they end, in a column beside the axes."""
    _at_least_high(axes, 0.8 + 0.16 * len(ends))
    _figure(axes).draw_without_rendering()
    line = 11 * _figure(axes).dpi / 72 / axes.bbox.height  # a line of text, as a part of the axes' height
    heights = [axes.transAxes.inverted().transform(axes.transData.transform(end))[1] for _, end in ends]
    for i, height in enumerate(heights[1:], start=1):
        heights[i] = min(height, heights[i - 1] - line)
    bottom = 0.0
    for i in reversed(range(len(heights))):  # names pushed below the axes push the others up
        heights[i] = max(heights[i], bottom)
        bottom = heights[i] + line
    for i, ((name, end), height) in enumerate(zip(ends, heights, strict=True)):
        lead = {"arrowstyle": "-", "linewidth": 0.7, "linestyle": ":", "relpos": (0, 0.5)}
        lead["color"] = PALETTE[i % len(PALETTE)]
        look: dict[str, Any] = {"va": "center", "fontsize": 8, "arrowprops": lead}
        axes.annotate(name, end, (1.06, height), "data", "axes fraction", annotation_clip=False, **look)


def _stay_near(
    get: Callable[[], tuple[float, float]], change: Callable[[float, float], Any], values: list[float]
) -> None:
    """Let an axis end where the values do, with their own spread as room on both sides, if it goes further.

    The intervals of a few edits are many times as long as what is between the methods.
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return
    low, high = min(known), max(known)
    room = (high - low) or 0.1 * abs(high) or 1.0
    start, end = get()
    change(max(start, low - room), min(end, high + room))


def _method(setting: Setting, along: str) -> str:
    """Return the label of a curve: of any of its settings, without what differs along it, `λ` or `steps`."""
    told = tuple(each for each in setting.told if each[0] != along)
    return replace(setting, told=told, lam=None if along == "λ" else setting.lam).label


def _figure(axes: Axes) -> Figure:
    return cast(Figure, axes.get_figure(root=True))


def _at_least_high(axes: Axes, inches: float) -> None:
    """Make the figure higher, if it must be for what is named beside or below the axes."""
    _figure(axes).set_figheight(max(_figure(axes).get_figheight(), inches))


def _place(setting: Setting, x: str, y: str) -> tuple[float, float]:
    return cell(setting, x).edits.mean, cell(setting, y).edits.mean


def _half(setting: Setting, baselines: Sequence[Setting | None], own: Setting | None, key: str) -> float:
    """Return half of the 95 % interval of the difference to the setting's baseline, edit by edit.

    How far apart two edits are says nothing about which setting is better. A baseline itself has no interval,
    a setting without one has that of its mean over the edits.
    """
    if own:
        return _finite(paired(setting.values(key), own.values(key)).difference.half)
    return 0.0 if setting in baselines else _finite(cell(setting, key).edits.half)


def _curves(settings: Sequence[Setting], along: str) -> Iterator[list[Setting]]:
    """Yield settings that differ in lambda alone, or in the number of steps alone, in its order."""
    curves: dict[tuple[object, ...], list[tuple[float, Setting]]] = defaultdict(list)
    for setting in settings:
        others = dict(setting.others)
        if along == "steps":
            place = float(others.pop("steps", 0))
            curves[setting.score, setting.lam, *others.items()].append((place, setting))
        else:
            curves[setting.score, *others.items()].append((setting.lam or 0.0, setting))
    for curve in curves.values():
        yield [setting for _, setting in sorted(curve, key=lambda each: each[0])]


def _both(section: Section, x: str, y: str) -> int:
    """Return how many settings have both metrics."""
    return sum(bool(setting.values(x) and setting.values(y)) for setting in section.settings)


def _heading(key: str) -> str:
    column = COLUMNS.get(key, Column(key, key, 1, 3, 0))
    return column.heading if column.factor == 1 else key  # axes show raw values


def _finite(half: float) -> float:
    return half if math.isfinite(half) else 0.0


def _svg(figure: Figure) -> str:
    """Return inline SVG in the page's ink, without the ids that several figures of one page would share."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": str(id(figure))}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'<g id="[^"]*"', "<g", svg)
