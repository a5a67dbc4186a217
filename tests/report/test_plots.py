"""The figures: no name of a curve or a point stands on another."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import matplotlib
import pytest
from helpers.finished_runs import drawn, write_run
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from piva.report.plots import STYLE, _tradeoff
from piva.report.sections import PASSES, sections
from piva.runs.run import Run, find_runs

METHODS = [f"Method{chr(ord('A') + i)}" for i in range(15)]


@pytest.fixture
def axes() -> Iterator[Axes]:
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(5, 4.2), layout="constrained").subplots()


def draw(axes: Axes, root: Path, x: str, y: str) -> list[str]:
    """Draw a trade-off and return its names, none of which meets another or leaves the figure."""
    (section,) = sections(Run.read(folder) for folder in find_runs([root]))
    _tradeoff(axes, section, x, y, "dds")
    axes.figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert len(boxes) == len(axes.texts)
    assert not [pair for pair in combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])]
    assert all(axes.figure.bbox.contains(*corner) for box in boxes.values() for corner in (box.min, box.max))
    return list(boxes)


def test_fifteen_methods_over_passes_are_named_apart(axes: Axes, tmp_path: Path) -> None:
    """All but equal at the end, on a logarithmic axis with the budgets as its ticks."""
    for i, method in enumerate(METHODS):
        for steps in (24, 75, 250):
            values = {edit: {"truth/lpips": 0.6 + i / 1000} for edit in ("a", "b")}
            write_run(tmp_path / f"{method}{steps}", values, score=method, steps=steps)
    assert draw(axes, tmp_path, PASSES, "truth/lpips") == METHODS[::-1]
    assert axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == [50, 150, 500]
    assert len(axes.lines) == len(METHODS)


def test_lambdas_are_named_apart_along_a_curve_and_not_at_a_single_point(axes: Axes, tmp_path: Path) -> None:
    for i, lam in enumerate((0.1, 0.2, 0.4, 0.8)):
        values = {edit: {"eval/lpips": 0.5 + i / 500, "eval/clip": 0.7} for edit in ("a", "b")}
        write_run(tmp_path / f"piva{lam}", values, score="Piva", lam=lam)
    write_run(tmp_path / "ssd", drawn(["a", "b"]), score="SSD", lam=0.3)
    names = draw(axes, tmp_path, "eval/lpips", "eval/clip")
    assert {"λ 0.1", "λ 0.8"} <= set(names) <= {f"λ {lam}" for lam in (0.1, 0.2, 0.4, 0.8)}
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["Piva", "SSD λ 0.3"]


@pytest.mark.parametrize("x", [PASSES, "eval/lpips"])
def test_long_intervals_do_not_stretch_the_axes(axes: Axes, tmp_path: Path, x: str) -> None:
    """Of two edits and two seeds, which move the methods' means by a hundredth and differ by far more."""
    for i, score in enumerate(("SSD", "PDS")):
        for seed, apart in enumerate((0.1, -0.1)):
            values = {
                edit: {"eval/clip": mean + i / 100 + apart, "eval/lpips": mean + i / 100}
                for edit, mean in (("a", 0.1), ("b", 1.4))
            }
            write_run(tmp_path / f"{score}{seed}", values, score=score, seed=seed)
    draw(axes, tmp_path, x, "eval/clip")
    low, high = axes.get_ylim()
    assert low <= 0.75 < 0.76 <= high
    assert high - low == pytest.approx(0.03)
