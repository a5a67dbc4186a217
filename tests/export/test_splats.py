"""Splats taken away as a surface, and fields as splats: a ball known in closed form."""

import numpy as np
import pytest
import torch
import trimesh
from helpers.balls import write_run, write_splat_run
from helpers.plys import read_ply
from safetensors.torch import load_file, save_file

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.export.__main__ import export
from piva.export.edits import find
from piva.export.stored import read_edit
from piva.metrics.pixels import psnr
from piva.nerf.splats.ply import read_splats
from piva.nerf.splats.scene import SplatScene
from piva.noe.model import ModelRenderer, read_model

MIDDLE, LENS = np.array([0.0, 0.0, 0.1]), pinhole(40, 96)
CAMERAS = [orbit(-70, 25, 3.0), orbit(140, 50, 3.0)]
QUICK = ["splats.views=20", "splats.size=64", "splats.distance=3", "splats.fit.radius=1"]
QUICK += ["splats.fit.splats=1500", "splats.fit.steps=80", "splats.fit.occupancy=24"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_splat_run(tmp_path_factory.mktemp("runs") / "run")


def test_an_export_of_all_has_a_surface_and_the_ply(run):
    (folder,) = export(str(run), "ring.views=2", "size=64", "mesh.resolution=48")
    names = ["alpha", "depth", "field.safetensors", "film.mp4", "images", "mesh.glb", "splats.ply"]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "transforms.json"]


def test_the_surface_of_splats_is_what_they_look_like(run):
    (folder,) = export(str(run), "what=[mesh]", "mesh.resolution=64")
    solid = trimesh.load(folder / "mesh.glb", force="mesh")
    away = np.linalg.norm(solid.vertices - MIDDLE[[0, 2, 1]], axis=1)
    assert 0.58 < away.min() < away.max() < 0.72  # splats of 0.036 on a sphere of 0.6
    stored, _ = read_edit(find(run)[0], "cpu")
    model = ModelRenderer(read_model((folder / "mesh.glb").read_bytes(), "x.glb"))
    for c2w in CAMERAS:
        seen = model.render(c2w, 96, 96, LENS.fx).rgba
        view = stored.view(torch.from_numpy(c2w), LENS)
        covered, there = seen[..., 3] > 0.5, (view.opacity > 0.5).numpy()
        assert (covered & there).sum() > 0.93 * (covered | there).sum()
        error = (seen[..., :3] - view.rgb.numpy())[covered & there]
        assert np.abs(error).mean() < 10 / 255


def test_the_original_has_a_surface_too(run):
    (folder,) = export(str(run), "what=[mesh]", "which=original", "mesh.resolution=32")
    assert trimesh.load(folder / "mesh.glb", force="mesh").area > 3


def test_a_field_becomes_splats_that_look_like_it(tmp_path):
    run = write_run(tmp_path / "run", ("ball/green",))
    (folder,) = export(str(run), "what=[splats]", *QUICK)
    assert len(read_ply(folder / "splats.ply")["x"]) <= 1500
    splats = read_splats(folder / "splats.ply", "z", torch.device("cpu"))
    means = (splats.means.detach() * splats.scale + splats.to_file[:3, 3]).numpy()
    assert np.median(np.abs(np.linalg.norm(means - MIDDLE, axis=1) - 0.6)) < 0.08  # their own size
    stored, _ = read_edit(find(run)[0], "cpu")
    with torch.no_grad():
        splats.means.copy_(torch.from_numpy(means))
        splats.scales.add_(float(np.log(splats.scale)))
        splats.to_file.copy_(torch.eye(4))
        for c2w in CAMERAS:
            pose = torch.from_numpy(c2w)
            drawn = SplatScene(splats, None).view(None, pose, LENS, torch.ones(3)).rgb
            wanted = stored.view(pose, LENS).rgb
            assert float(psnr(drawn.movedim(-1, 0)[None], wanted.movedim(-1, 0)[None])) > 24


def test_splats_that_are_there_are_written_as_they_are(run):
    (folder,) = export(str(run), "what=[splats]")
    columns = read_ply(folder / "splats.ply")
    wanted = load_file(find(run)[0].state)["means"].numpy()
    np.testing.assert_allclose(np.stack([columns[name] for name in "xyz"], axis=1), wanted, atol=1e-6)


def test_what_cannot_become_splats_is_one_line(tmp_path):
    run = write_run(tmp_path / "run", ("ball/green",))
    state = find(run)[0].state
    tensors = load_file(state)
    save_file({**tensors, "world": torch.eye(4, dtype=torch.float64)}, state)
    with pytest.raises(InputError, match=r"what=\[splats\]: found a captured scene's field") as error:
        export(str(run), "what=[splats]", *QUICK)
    assert "\n" not in str(error.value)
    save_file({**tensors, "raw_density": torch.full_like(tensors["raw_density"], -4.0)}, state)
    with pytest.raises(InputError, match=r"what=\[splats\]: found a field that is all but empty"):
        export(str(run), "what=[splats]", *QUICK)
