"""The mesh against the field's own render, a ball known in closed form, and VTK's reading of the file."""

import numpy as np
import pytest
import torch
import trimesh
import vtk
from helpers.balls import write_run
from vtk.util.numpy_support import vtk_to_numpy

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.export.edits import find
from piva.export.glb import Y_UP, glb
from piva.export.settings import MeshSettings
from piva.export.stored import read_edit
from piva.export.surface import solid, surface
from piva.noe.model import ModelRenderer, read_model

SIZE, FOV = 128, 40.0
LENS = pinhole(FOV, SIZE)
CAMERAS = [orbit(-70, 25, 3.0), orbit(140, -20, 3.0)]
MIDDLE = np.array([0.0, 0.0, 0.1])


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return [read_edit(edit, "cpu")[0] for edit in find(write_run(tmp_path_factory.mktemp("runs") / "run"))]


def mesh(**words):
    return MeshSettings(**({"resolution": 64, "level": 14.0, "specks": 0.01, "texels": 2} | words))


def agree(rgb, covered, stored, c2w):
    """Silhouettes and colours as the field's render has them, away from the edges between its colours."""
    view = stored.view(torch.from_numpy(c2w), LENS)
    solid = (view.opacity > 0.5).numpy()
    assert (covered & solid).sum() > 0.95 * (covered | solid).sum()
    error = (rgb - view.rgb.numpy())[covered & solid]
    assert np.abs(error).mean() < 8 / 255
    assert np.abs(np.median(error, axis=0)).max() < 6 / 255  # VTK takes sRGB for a power of 2.2


@pytest.mark.parametrize("texels", [0, 2, 4])
def test_the_file_looks_like_the_field(stored, texels):
    model = ModelRenderer(read_model(glb(stored[0], mesh(texels=texels)), "x.glb"))
    for c2w in CAMERAS:
        seen = model.render(c2w, SIZE, SIZE, LENS.fx)
        agree(seen.rgba[..., :3], seen.rgba[..., 3] > 0.5, stored[0], c2w)


def test_another_program_shows_it_upright_and_in_the_fields_colours(stored, tmp_path):
    path = tmp_path / "mesh.glb"
    path.write_bytes(glb(stored[0], mesh()))
    for c2w in CAMERAS:
        rgb = vtk_shows(path, c2w)
        agree(rgb, (rgb < 1).any(axis=-1), stored[0], c2w)


def vtk_shows(path, c2w, size=SIZE):
    """(h, w, 3) on white."""
    renderer, window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(size, size)
    window.AddRenderer(renderer)
    reader = vtk.vtkGLTFImporter()
    reader.SetFileName(str(path))
    reader.SetRenderWindow(window)
    reader.Update()
    renderer.SetBackground(1, 1, 1)
    pose = Y_UP @ c2w[:3]
    camera = renderer.GetActiveCamera()
    camera.SetPosition(pose[:, 3])
    camera.SetFocalPoint(pose[:, 3] - pose[:, 2])
    camera.SetViewUp(pose[:, 1])
    camera.SetViewAngle(FOV)
    camera.SetClippingRange(1, 10)
    window.Render()
    pixels = vtk.vtkUnsignedCharArray()
    window.GetRGBACharPixelData(0, 0, size - 1, size - 1, 1, pixels)
    rgb = vtk_to_numpy(pixels).reshape(size, size, 4)[::-1, :, :3] / 255
    window.Finalize()
    return rgb


def test_the_surface_is_the_ball(stored):
    found = surface(solid(stored[0], mesh()), mesh())
    away = np.linalg.norm(found.vertices - MIDDLE, axis=1)
    assert np.abs(away - 0.6).max() < 0.02
    shape = trimesh.Trimesh(found.vertices, found.faces, process=False)
    assert shape.is_watertight
    assert shape.volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.04)  # positive: faces look outwards
    assert (found.normals * (found.vertices - MIDDLE)).sum(axis=1).min() > 0.9 * 0.6


def test_the_unit_is_the_scenes_and_y_is_up(stored):
    scene = trimesh.load_scene(trimesh.util.wrap_as_stream(glb(stored[0], mesh())), file_type="glb")
    assert scene.bounds == pytest.approx(np.array([[-0.6, -0.5, -0.6], [0.6, 0.7, 0.6]]), abs=0.03)


@pytest.mark.parametrize(("specks", "parts"), [(0.0, 2), (0.01, 1)])
def test_specks_are_left_out(stored, specks, parts):
    found = surface(solid(stored[1], mesh(specks=specks)), mesh(specks=specks))
    assert trimesh.Trimesh(found.vertices, found.faces, process=False).body_count == parts


def test_hollows_that_no_camera_sees_are_filled(stored):
    settings = mesh()
    whole = surface(solid(stored[0], settings), settings)
    hollow = stored[0].fitted.field
    raw = hollow.raw_density.detach().clone()
    middle = slice(20, 28)
    with torch.no_grad():
        hollow.raw_density[0, 0, middle, middle, middle] = -4.0
    found = surface(solid(stored[0], settings), settings)
    with torch.no_grad():
        hollow.raw_density.copy_(raw)
    assert len(found.faces) == len(whole.faces)


def test_a_level_without_a_surface_is_named(stored):
    with pytest.raises(InputError, match=r"mesh.level: found nothing denser than 1e\+06, at most \d+"):
        surface(solid(stored[0], mesh(level=1e6)), mesh(level=1e6))
