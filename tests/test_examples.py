"""The notebook of examples/ runs, and has the pictures of an earlier run in it."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.notebook import code_cells, run_notebook
from PIL import Image

NOTEBOOK = Path(__file__).parents[1] / "examples/edit.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_and_its_edits_are_edits() -> None:
    (_, edited), (printed, _), (_, dds), (_, strip) = run_notebook(NOTEBOOK)
    assert "eval/clip" in printed
    for each in (edited, dds):
        assert each.metrics["eval/clip"] > each.metrics["nothing/clip"]
    first, *_, last = np.split(np.asarray(strip), strip.width // strip.height, axis=1)
    assert np.abs(first.astype(float) - last).mean() > 1


def test_the_notebook_shows_pictures_and_is_small() -> None:
    assert NOTEBOOK.stat().st_size < 300_000
    cells = code_cells(json.loads(NOTEBOOK.read_text()))
    assert all(cell["outputs"] for cell in cells)
    pictures = [
        output["data"]["image/png"] for cell in cells for output in cell["outputs"] if "data" in output
    ]
    assert len(pictures) == 3
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)


def test_the_notebooks_picture_is_a_small_file() -> None:
    with Image.open(NOTEBOOK.with_name("chair.png")) as image:
        assert image.size == (128, 128)
