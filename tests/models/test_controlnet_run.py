"""model=controlnet as a user types it, with all the schedules and samples, on a ball in closed form."""

from pathlib import Path

import pytest
from helpers.ball import FIELD, write_ball
from helpers.tiny_prior import write_controlnet
from PIL import Image

from piva import compose, run

SPLATS = ["field=splats", "field.radius=1", "field.splats=300", "field.steps=40", "field.occupancy=24"]


@pytest.mark.parametrize("field", [[f"field.{word}" for word in FIELD], SPLATS], ids=["voxels", "splats"])
def test_a_run_with_depth_schedules_and_samples(field: list[str], prior_folder: Path, tmp_path: Path) -> None:
    write_controlnet(prior_folder, 0.3, tmp_path / "depth")
    words = [
        *(
            "task=nerf",
            "dataset=single",
            f"dataset.path={write_ball(tmp_path / 'ball')}",
            "dataset.source=a",
            "dataset.target=b",
        ),
        *(
            "model=controlnet",
            f"prior.path={prior_folder}",
            f"model.path={tmp_path / 'depth'}",
            "model.tune=true",
        ),
        *(
            "steps=2",
            "guidance_source=null",
            "coarse=[16]",
            "coarse_until=[0.5]",
            "lambda_end=0.8",
            "task.views=2",
            "task.lr_warmup=0.5",
        ),
        *("samples.at=[2]", "samples.count=1", "samples.steps=2", "metrics=pixels", "hydra.run.dir=out"),
        *("task.turntable=1", "task.turntable_size=16", *field),
    ]
    summary = run(compose(*words)).summary
    assert summary["unet"] == {"forward_per_step": 14, "backward_per_step": 4, "calls_per_step": 2}
    assert summary["controlnet"] == {"forward_per_step": 6, "backward_per_step": 4}
    (edit,) = Path("out/edits").iterdir()
    assert Image.open(edit / "samples-2.png").size == (36, 3 * 34 + 2)
    adapters = {
        str(path.parent.relative_to(edit / "adapters")) for path in edit.rglob("adapter_model.safetensors")
    }
    assert adapters == {"source", "source/controlnet", "target", "target/controlnet"}
