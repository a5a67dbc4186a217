"""Editing splats of captures by lenses that splats are not drawn through."""

import json
from pathlib import Path

import numpy as np
import torch
from helpers.ball import ball_views
from helpers.plys import ball_of_splats, write_ply
from PIL import Image
from safetensors.torch import load_file

import piva
from piva.cameras.lens import Lens, pinhole
from piva.cameras.nerfstudio import intrinsics
from piva.cameras.poses import hemisphere, orbit
from piva.config import build, compose
from piva.export.edits import find
from piva.export.stored import read_edit
from piva.metrics.pixels import psnr
from piva.nerf.splats.settings import SplatFit

BENT = Lens(width=48, height=48, fx=66, fy=66, cx=25, cy=23, k1=-0.9, k2=0.3)  # strongly: a ball is a cushion
FIELD = ["field.radius=1", "field.splats=600", "field.steps=400", "field.occupancy=24"]
SMALL = ["steps=1", "task.views=1", "task.follow_steps=1", "task.turntable=2", "task.turntable_size=16"]


def write_capture(folder: Path) -> Path:
    """The ball of four colours by the bent lens."""
    (folder / "images").mkdir(parents=True)
    cameras, frames = hemisphere(24, 3.0), []
    for i, (rgba, c2w) in enumerate(zip(ball_views(48, cameras, BENT), cameras, strict=True)):
        Image.fromarray((rgba.numpy() * 255).round().astype(np.uint8)).save(folder / f"images/{i:02d}.png")
        frames.append({"file_path": f"images/{i:02d}.png", "transform_matrix": c2w.tolist()})
    (folder / "transforms.json").write_text(json.dumps({**intrinsics(BENT), "frames": frames}))
    return folder


def test_a_capture_by_a_bent_lens_is_fitted_as_pinholes_see_it(prior_folder: Path, tmp_path: Path) -> None:
    path, run = write_capture(tmp_path / "capture"), tmp_path / "run"
    words = [f"prior.path={prior_folder}", "metrics=pixels", "resolution=32", f"hydra.run.dir={run}"]
    piva.edit(path, "a ball", "a red ball", "field=splats", *FIELD, *SMALL, *words)
    (edit,) = find(run)
    tensors = load_file(edit.state)
    original = {
        name.removeprefix("original."): x.float()
        for name, x in tensors.items()
        if name.startswith("original.")
    }
    original["to_file"] = tensors["to_file"]
    cfg = compose("field=splats", *FIELD)
    fit = build(SplatFit, cfg.field, "field")
    scene, pose, lens = fit.scene(original), orbit(40, 30, 3.0), pinhole(40, 48)
    with torch.no_grad():
        seen = scene.view(fit, torch.from_numpy(pose), lens, torch.ones(3)).rgb
    rgba = ball_views(48, pose[None])[0]
    wanted = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    assert (
        float(psnr(seen.movedim(-1, 0)[None], wanted.movedim(-1, 0)[None])) > 22
    )  # 20 where the distortion is ignored


def test_a_file_far_from_its_origin_is_edited(prior_folder: Path, tmp_path: Path) -> None:
    """As georeferenced ones are, with a splat of the sky: beyond what half precision holds."""
    columns = ball_of_splats(middle=(500_000.0, 4_000_000.0, 100.0))
    columns["z"][0] = 1e7
    path, run = write_ply(tmp_path / "far.ply", columns), tmp_path / "run"
    words = [f"prior.path={prior_folder}", "metrics=pixels", "resolution=32", f"hydra.run.dir={run}"]
    piva.edit(path, "a ball", "a red ball", *SMALL, *words)
    edit, original = read_edit(find(run)[0], "cpu")
    assert original is not None
    for stored in (edit, original):
        seen = stored.view(torch.from_numpy(orbit(40, 30, 4.0)), pinhole(40, 32))
        assert 0.1 < float(seen.opacity.mean()) < 0.9
    assert torch.equal(edit.fitted.field.to_file, original.fitted.field.to_file)
