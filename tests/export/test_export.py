"""The whole command on a finished run: what it writes is what the renderer makes, and reads back the same."""

import json
import shutil
import subprocess
import sys

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from helpers.balls import ball, write_run
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file, save_file

from piva.datasets.scene import read_views
from piva.errors import EditsFailed, InputError
from piva.export.__main__ import export
from piva.export.edits import find
from piva.export.stored import load_field, read_edit

SMALL = ["ring.views=4", "size=64", "ring.distance=3", "mesh.resolution=32"]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "run")


def test_everything_lands_beside_the_edits(run):
    folders = export(str(run), *SMALL)
    assert folders == [run / "edits/ball" / name / "export/edit" for name in ("green", "grown")]
    for folder in folders:
        names = ["alpha", "depth", "field.safetensors", "film.mp4", "images", "mesh.glb", "transforms.json"]
        assert sorted(path.name for path in folder.iterdir()) == names
        assert iio.imread(folder / "film.mp4", plugin="pyav").shape == (4, 64, 64, 3)
    assert list(run.rglob("*.tmp")) == []


def test_what_a_killed_export_left_is_told_and_deleted(run, caplog):
    left = run / "edits/ball/green/export/.edit.tmp"
    left.mkdir(parents=True)
    export(str(run / "edits/ball/green"), "what=[field]")
    assert [record.message for record in caplog.records if str(left) in record.message]
    assert not left.exists()


def test_pictures_depth_and_cameras_are_a_scene_that_the_reader_reads(run):
    """The ball is known: its depth and alpha are worked out here, from the cameras in the file."""
    (folder,) = export(str(run / "edits/ball/green"), "what=[images,depth,alpha]", *SMALL)
    views = read_views(folder)
    assert views.images.shape == (4, 64, 64, 4)
    data = json.loads((folder / "transforms.json").read_text())
    assert data["depth_unit_scale_factor"] == 1e-3
    for index, c2w in enumerate(views.c2w.astype(float)):
        lens = views.lenses[index]
        v, u = np.mgrid[:64, :64] + 0.5
        rays = np.stack([(u - lens.cx) / lens.fx, (lens.cy - v) / lens.fy, -np.ones_like(u)], axis=-1)
        directions, origin = rays @ c2w[:3, :3].T, c2w[:3, 3] - (0, 0, 0.1)
        a, b, c = (directions**2).sum(-1), directions @ origin, origin @ origin - 0.6**2
        under = b * b - a * c
        depth = np.where(
            under > 0, (-b - np.sqrt(np.maximum(under, 0))) / a, 0
        )  # rays have unit z: this is z-depth
        got = np.asarray(Image.open(folder / "depth" / f"{index:04d}.png"))
        assert got.dtype == np.uint16
        both = (under > 0.05) & (got > 0)  # away from the limb
        assert both.sum() > 400
        assert np.abs(got * 1e-3 - depth)[both].max() < 0.05
        assert not got[under < -0.05].any()
        alpha = np.asarray(Image.open(folder / "alpha" / f"{index:04d}.png"))
        np.testing.assert_array_equal(alpha, views.images[index, ..., 3])
        assert alpha[both].min() > 250
        assert alpha[under < -0.05].max() < 10


def test_the_field_reads_back_to_the_bit_and_renders_the_same(run):
    (folder,) = export(str(run / "edits/ball/green"), "what=[field]")
    again = load_field(str(folder / "field.safetensors"), "cpu")
    stored, _ = read_edit(find(run)[0], "cpu")
    state = load_file(run / "edits/ball/green/state.safetensors")
    assert set(again.tensors) == {"raw_density", "raw_colour", "occupied"}
    assert all(torch.equal(x, state[name]) for name, x in again.tensors.items())
    assert again.settings == stored.settings
    points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for now, before in zip(again.fitted.field(points), stored.fitted.field(points), strict=True):
        assert torch.equal(now, before)


def test_the_original_can_be_taken_too(run):
    export(str(run / "edits/ball/green"), "which=original", "what=[field]")
    (kept,) = export(str(run / "edits/ball/green"), "which=edit", "what=[field]")
    original = load_file(kept.parent / "original/field.safetensors")
    torch.testing.assert_close(
        original["raw_colour"], ball(0.6, 0.0)["raw_colour"], atol=2e-3, rtol=1e-3
    )  # half precision


def test_out_and_parts_of_before_are_kept(run, tmp_path):
    out = tmp_path / "out"
    (out / "ball/green/edit").mkdir(parents=True)
    (out / "ball/green/edit/notes.txt").write_text("mine")
    export(str(run / "edits/ball/green"), "what=[field]", f"out={out}")
    export(str(run / "edits/ball/green"), "what=[mesh]", f"out={out}", *SMALL)
    assert {path.name for path in (out / "ball/green/edit").iterdir()} == {
        "notes.txt",
        "field.safetensors",
        "mesh.glb",
    }
    assert not (run / "edits/ball/green/export").exists()


def test_what_fails_leaves_nothing_and_what_was_finished_stays(run):
    def files():
        return sorted(path.name for path in (run / "edits/ball/green").rglob("*") if path.is_file())

    with pytest.raises(InputError, match="mesh.level"):
        export(str(run / "edits/ball/green"), "what=[mesh]", "mesh.level=1e6", *SMALL)
    assert files() == ["state.safetensors"]
    with pytest.raises(EditsFailed, match="mesh.level"):
        export(str(run / "edits/ball/green"), "what=[field,mesh]", "mesh.level=1e6", *SMALL)
    assert files() == ["field.safetensors", "state.safetensors"]


def broken_state(change):
    def damage(run):
        path = run / "edits/ball/green/state.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return damage


def cut(run):
    path = run / "edits/ball/green/state.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def image_run(run):
    config = OmegaConf.load(run / "config.yaml")
    config.task._target_ = "piva.tasks.image.ImageTask"
    OmegaConf.save(config, run / "config.yaml")


def other_field(run):
    config = OmegaConf.load(run / "config.yaml")
    config.task.field._target_ = "subprocess.Popen"
    OmegaConf.save(config, run / "config.yaml")


def without_original(tensors):
    for name in [name for name in tensors if name.startswith("original.")]:
        del tensors[name]


@pytest.mark.parametrize(
    ("damage", "words", "message"),
    [
        (cut, [], "state.safetensors: found an unreadable file"),
        (
            broken_state(lambda t: t.pop("raw_colour")),
            [],
            "state.safetensors: found tensors that do not fit .*raw_colour",
        ),
        (broken_state(lambda t: t.pop("occupied")), [], "state.safetensors: found no occupancy"),
        (
            broken_state(lambda t: t["raw_density"].fill_(torch.nan)),
            [],
            "found values in raw_density that are not finite",
        ),
        (broken_state(without_original), ["which=original"], "which=original: found .* without it"),
        (image_run, [], "config.yaml: found a run of ImageTask, which has no scene"),
        (other_field, [], "config.yaml: field._target_: found 'subprocess.Popen'"),
        (lambda run: (run / "config.yaml").write_text("{"), [], "config.yaml: found"),
        (lambda run: (run / "config.yaml").unlink(), [], "PATH: found no config.yaml"),
        (lambda run: shutil.rmtree(run / "edits"), [], "run: found no state.safetensors in it"),
        (lambda run: None, ["what=[mish]"], "what: found .*mish.*, wanted some of mesh, film"),
        (lambda run: None, ["mesh.texels=1"], "mesh.texels: found 1"),
        (lambda run: None, ["path=frames"], "path=frames: found no dataset"),
        (lambda run: None, ["path=nowhere.json"], "nowhere.json: found no such file"),
        (lambda run: None, ["out=/proc/nowhere"], "/proc/nowhere.*: found .*, wanted a place to write to"),
    ],
)
def test_bad_input_is_named(run, damage, words, message):
    damage(run)
    with pytest.raises((InputError, EditsFailed), match=message):
        export(str(run), "what=[field,images]", *SMALL, *words)


def test_the_command_line(run):
    def said(*words):
        command = [sys.executable, "-m", "piva.export", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    done = said(str(run / "edits/ball/green"), "what=[film]", *SMALL)
    assert (done.returncode, done.stdout) == (0, f"{run}/edits/ball/green/export/edit\n")
    done = said("nowhere")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "PATH: found no folder 'nowhere'" in done.stderr


def test_user_errors_are_answered_without_torch(run):
    code = f"""
import sys
from piva.errors import InputError
from piva.export.__main__ import export
try:
    export({str(run)!r}, "which=neither")
except InputError:
    print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "False\n", done.stderr
