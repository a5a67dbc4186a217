"""The papers' factors are the table's; rows are raw."""

import math

import pytest

from piva.metrics.table import TABLES, means, table

ROW = {
    "id": "a",
    "pie/structure": 0.01102,
    "pie/psnr": 27.39,
    "pie/lpips": 0.0561,
    "pie/mse": 0.002872,
    "pie/ssim": 0.8475,
    "pie/clip_whole": 0.2533,
    "pie/clip_edited": 0.2221,
    "nothing/clip_whole": 0.2411,
    "nothing/clip_edited": 0.2,
    "eval/clip": 0.245,
    "nothing/clip": 0.21,
    "eval/lpips": 0.1133,
}


def test_raw_values_become_the_papers_numbers() -> None:
    lines = table([ROW], {"clip": "some CLIP"}).splitlines()
    edits = [line for line in lines if line.startswith("| edits")]
    nothing = [line for line in lines if line.startswith("| do nothing")]
    assert edits[0] == "| edits | 11.02 | 27.39 | 56.10 | 28.72 | 84.75 | 25.33 | 22.21 |"  # Table 1, Piva
    assert nothing[0] == "| do nothing | 0.00 | ∞ | 0.00 | 0.00 | 100.00 | 24.11 | 20.00 |"
    assert edits[1] == "| edits | 0.2450 | 0.1133 |"  # Table 2, Piva
    assert nothing[1] == "| do nothing | 0.2100 | 0.0000 |"
    assert lines[-1] == "networks: clip: some CLIP"


def test_metrics_that_were_not_measured_have_no_column() -> None:
    text = table([{"id": "a", "eval/psnr": 20.0}], {})
    assert "CLIP" not in text
    assert "PIE" not in text
    assert text.endswith("networks: none\n")


def test_means_leave_out_what_has_no_value_and_say_so() -> None:
    rows = [ROW, {**ROW, "id": "b", "pie/psnr": math.nan}]
    text = table(rows, {}, missing=["c"])
    assert "| edits | 11.02 | 27.39 |" in text
    assert "means over fewer edits: pie/psnr 1" in text
    assert "no picture: c" in text


@pytest.mark.parametrize("title", TABLES)
def test_every_column_says_what_doing_nothing_scores(title: str) -> None:
    for column in TABLES[title]:
        assert isinstance(column.nothing, float | int) or column.nothing.startswith("nothing/")


def test_means_are_over_the_rows_that_have_a_value() -> None:
    rows = [
        {"id": "a", "x": 1.0, "y": math.nan},
        {"id": "b", "x": 2.0, "y": 3.0},
        {"id": "c", "y": math.nan, "z": math.nan},
    ]
    found = means(rows)
    assert (found["x"], found["y"]) == (1.5, 3.0)
    assert math.isnan(found["z"])
