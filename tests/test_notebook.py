"""From Python, as in a notebook: the same run, the result as an object; one seed gives one result for a NeRF
too.
"""

import json
from pathlib import Path

import torch
from helpers.ball import FIELD, write_ball

from piva import compose, run


def test_a_nerf_edit_from_python_is_whole_and_repeatable(prior_folder: Path, tmp_path: Path) -> None:
    scene = write_ball(tmp_path / "ball")
    words = [
        *(
            "task=nerf",
            "dataset=single",
            f"dataset.path={scene}",
            "dataset.source=a ball",
            "dataset.target=a box",
        ),
        *(
            f"prior.path={prior_folder}",
            "resolution=32",
            "steps=3",
            "task.turntable=3",
            "task.turntable_size=32",
        ),
        *(f"field.{word}" for word in FIELD),
    ]
    first, second = (run(compose(*words, f"hydra.run.dir={tmp_path / name}")) for name in ("a", "b"))
    place = first.folder / "edits/ball"
    names = {"before.png", "after.png", "turntable.mp4", "state.safetensors", "adapters", "result.json"}
    assert {path.name for path in place.iterdir()} == names
    assert first.rows == second.rows
    assert first.summary == second.summary == json.loads((first.folder / "summary.json").read_text())
    assert first.summary["unet"]["calls_per_step"] == 2


def test_turntables_show_both_side_by_side(prior_folder: Path, tmp_path: Path) -> None:
    import imageio.v3 as iio

    from piva.metrics.comparison import Comparison, save_comparison

    before, after = torch.zeros(4, 3, 32, 32), torch.ones(4, 3, 32, 32)
    save_comparison(Comparison(before=before, after=after), tmp_path)
    frames = iio.imread(tmp_path / "turntable.mp4", plugin="pyav")
    assert frames.shape == (4, 32, 64, 3)
    assert frames[:, :, :30].max() < 20
    assert frames[:, :, 34:].min() > 235
