import numpy as np
import pytest
import torch
from helpers.plys import ball_of_splats, names, read_ply, write_ply

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.nerf.splats.ply import read_header, read_splats, write_splats
from piva.nerf.splats.scene import SplatScene
from piva.nerf.splats.splats import Splats

CPU = torch.device("cpu")


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_file_of_another_program_comes_back(tmp_path, degree):
    columns = ball_of_splats(degree=degree)
    splats = read_splats(write_ply(tmp_path / "a.ply", columns), "-y", CPU)
    assert float(splats.means.detach().abs().max()) < 1.2  # the object fills the scene's box
    write_splats(splats, tmp_path / "b.ply")
    back = read_ply(tmp_path / "b.ply")
    assert list(back) == names(degree)
    for name, column in columns.items():
        np.testing.assert_allclose(back[name], column, rtol=2e-6, atol=2e-6, err_msg=name)


def test_any_order_and_format_is_the_same_file(tmp_path):
    columns = ball_of_splats(40, degree=1)
    wanted = read_splats(write_ply(tmp_path / "a.ply", columns), "z", CPU).state_dict()
    shuffled = sorted(columns, key=lambda name: name[::-1])
    without = [name for name in columns if not name.startswith("n")]
    extra = columns | {"red": np.zeros(40, np.uint8)}
    for i, options in enumerate([
        {"form": "ascii"},
        {"form": "binary_big_endian"},
        {"order": shuffled},
        {"order": without},
        {"order": [*columns, "red"], "kinds": {"x": "double", "red": "uchar"}},
        {"extra": "element face 0\nproperty list uchar int vertex_indices"},
    ]):  # fmt: skip
        got = read_splats(
            write_ply(tmp_path / f"{i}.ply", extra, **({"order": list(columns)} | options)), "z", CPU
        )
        for name, value in got.state_dict().items():
            torch.testing.assert_close(value, wanted[name], msg=f"{options}: {name}")


def with_all(name, value):
    columns = ball_of_splats(8)
    columns[name] = np.resize(value, 8).astype(np.float32)
    return columns


def with_nan():
    columns = ball_of_splats(8)
    columns["scale_1"][3] = np.nan
    return columns


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (ball_of_splats(8), {"order": [n for n in names(0) if n != "scale_2"]}, "no scale_2 among"),
        (ball_of_splats(8, degree=1), {"order": [*names(1)[:12], *names(0)[9:]]}, "3 properties f_rest"),
        (with_all("opacity", [-20.0]), {}, "8 splats, all of opacity 0"),
        (with_all("x", [3e38, -3e38]), {}, "splats 3e[+]38 units away"),
        (with_nan(), {}, "1 of 8 splats with values that are not finite"),
        (ball_of_splats(0), {}, "found 0 splats, wanted 1 to 16,000,000; export it"),
        (ball_of_splats(8), {"order": [*names(0), "x"]}, "the property x twice"),
        (ball_of_splats(8), {"extra": "element chunk 1\nproperty float min_x"}, "compressed"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_one_line(tmp_path, columns, options, message):
    path = write_ply(tmp_path / "bad.ply", columns, **options)
    with pytest.raises(InputError, match=message) as error:
        read_splats(path, "z", CPU)
    assert "\n" not in str(error.value)


def test_torn_files_and_wrong_counts_are_refused(tmp_path):
    whole = write_ply(tmp_path / "a.ply", ball_of_splats(8)).read_bytes()
    (tmp_path / "torn.ply").write_bytes(whole[:-7])
    with pytest.raises(InputError, match="less, or else"):
        read_splats(tmp_path / "torn.ply", "z", CPU)
    (tmp_path / "huge.ply").write_bytes(whole.replace(b"vertex 8", b"vertex 99000000"))
    with pytest.raises(InputError, match="99,000,000 splats"):
        read_header(tmp_path / "huge.ply")
    (tmp_path / "photo.ply").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="no header"):
        read_header(tmp_path / "photo.ply")


@pytest.mark.parametrize(("up", "axis"), [("z", 2), ("-y", 1), ("x", 0)])
def test_the_axis_that_points_up_is_up(tmp_path, up, axis):
    columns = ball_of_splats(degree=0)
    sign = -1 if up.startswith("-") else 1
    above = sign * (columns["xyz"[axis]] - [5.0, -3.0, 100.0][axis]) > 0
    for i, colour in enumerate(([0.9, 0.1], [0.1, 0.2], [0.1, 0.8])):
        columns[f"f_dc_{i}"] = ((np.where(above, *colour) - 0.5) / 0.28209479177387814).astype(np.float32)
    splats = read_splats(write_ply(tmp_path / "a.ply", columns), up, CPU)
    with torch.no_grad():
        scene = SplatScene(splats, None)
        seen = scene.view(None, torch.from_numpy(orbit(20, 10, 4.0)), pinhole(40, 32), torch.ones(3))
    top, bottom = seen.rgb[9, 16], seen.rgb[22, 16]
    assert top[0] > 0.7 > 0.4 > top[2]
    assert bottom[2] > 0.6 > 0.4 > bottom[0]
    assert abs(float(seen.depth[16, 16]) - 3.0) < 0.4  # the ball's radius is a scene unit


def test_what_cannot_be_seen_is_not_written(tmp_path):
    splats = read_splats(write_ply(tmp_path / "a.ply", ball_of_splats(20)), "z", CPU)
    assert isinstance(splats, Splats)
    write_splats(splats.with_reserve(0.5), tmp_path / "b.ply")
    assert len(read_ply(tmp_path / "b.ply")["x"]) == 20
