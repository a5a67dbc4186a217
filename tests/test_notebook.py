"""From Python, as in a notebook: the same run, the result as an object; one seed gives one result for a NeRF
too.
"""

import json
from pathlib import Path

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
    names = {
        "before.png",
        "after.png",
        "comparison.png",
        "turntable.mp4",
        "state.safetensors",
        "adapters",
        "result.json",
    }
    assert {path.name for path in place.iterdir()} == names
    assert first.rows == second.rows
    assert first.summary == second.summary == json.loads((first.folder / "summary.json").read_text())
    assert first.summary["unet"]["calls_per_step"] == 2
