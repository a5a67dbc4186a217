"""The command line: what it answers to bad words, and the plot alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import call
from helpers.finished_runs import drawn, write_run
from PIL import Image

from piva.errors import InputError
from piva.report.__main__ import main, report
from piva.report.plots import _curves
from piva.report.sections import PASSES, sections
from piva.report.tables import cell
from piva.runs.run import Run, find_runs


def test_the_plot_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "runs/lambda=0.4,score=piva", drawn(["a", "b"]), score="Piva", lam=0.4)
    plot = tmp_path / "tradeoff.png"
    assert report(str(tmp_path / "runs"), "out=null", f"plot={plot}") == [plot]
    assert Image.open(plot).size[0] > 600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "tradeoff.png"]


def test_a_curve_over_the_budget(tmp_path: Path) -> None:
    """Runs that differ in the number of steps alone are one curve over the network passes of an edit."""
    for steps in (10, 40):
        for score in ("DDS", "SDS"):
            write_run(tmp_path / f"runs/{score}{steps}", drawn(["a", "b"]), score=score, steps=steps)
    (section,) = sections(Run.read(folder) for folder in find_runs([tmp_path / "runs"]))
    curves = list(_curves(section.settings, "steps"))
    assert [[cell(setting, PASSES).edits.mean for setting in curve] for curve in curves] == [[20, 80]] * 2
    assert len(list(_curves(section.settings, "lambda"))) == 4
    plot = tmp_path / "budget.png"
    assert report(str(tmp_path / "runs"), "out=null", f"plot={plot}", "x=cost/passes") == [plot]


def test_no_plot_without_its_metrics(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"a": {"eval/psnr": 20.0}})
    with pytest.raises(InputError, match=r"no run with both eval/lpips and eval/clip"):
        report(str(tmp_path / "run"), "out=null", f"plot={tmp_path / 'p.png'}")
    assert not (tmp_path / "p.png").exists()


BAD = [
    ([], ["OUTPUTS", "no folder"]),
    (["nowhere"], ["nowhere", "no such folder"]),
    (["out=report.pdf", "."], ["out", "report.pdf", ".html"]),
    (["out=no/where.html", "."], ["out", "no folder"]),
    (["."], ["no metrics.csv"]),
    (["thumbnial=3", "."], ["thumbnial", "did you mean thumbnail"]),
    (["thumbnail=3", "."], ["thumbnail", "from 32 to 512"]),
]


@pytest.mark.parametrize(("argv", "expected"), BAD, ids=[" ".join(argv) for argv, _ in BAD])
def test_bad_arguments_are_one_line_and_exit_code_2(argv: list[str], expected: list[str]) -> None:
    done = call(main, "piva.report", *argv)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert all(word in done.stderr for word in expected), done.stderr
    assert list(Path().iterdir()) == []


def test_it_needs_neither_torch_nor_to_draw_before_it_answers() -> None:
    code = """
import sys
from piva.errors import InputError
from piva.report.__main__ import report
try:
    report('nowhere')
except InputError:
    pass
assert not {'torch', 'scipy', 'matplotlib'} & set(sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
