"""Files of datasets and benchmarks that nobody should write: each is one line that names file and key."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.scenes import edit_json, nerfstudio
from PIL import Image

from piva.cameras.lens import Lens
from piva.datasets.edit import Capture
from piva.datasets.noe import Noe
from piva.datasets.pie import Pie
from piva.datasets.scene import check_views, front_view, read_views
from piva.datasets.single import Single, read_prompts
from piva.datasets.transforms import read_transforms
from piva.errors import InputError, one_line
from piva.export.trajectory import read_camera_path
from piva.files import inside, read_json, read_yaml
from piva.images import check_image, read_mask, read_rgb
from piva.noe.prompts import parse_reply, read_edits
from piva.noe.sources import list_sources
from piva.ranges import select

Change = Callable[[dict[str, Any]], object]
NAN, INF, HUGE = float("nan"), float("inf"), "1" * 5000
POSE = np.eye(4).tolist()
CAPTURE = Capture(downscale=None, orientation=None, centre="poses", scale=True, near=0.0)


def check_line(error: pytest.ExceptionInfo[InputError], named: str) -> None:
    line = one_line(error.value)
    assert named in line
    assert len(line) < 2000


def top(**values: Any) -> Change:
    return lambda data: data.update(values)


def frame(**values: Any) -> Change:
    return lambda data: data["frames"][1].update(values)


SCENES: list[tuple[Change, str]] = [
    (top(frames=None), "frames"),
    (top(frames=[]), "frames"),
    (top(frames={}), "frames"),
    (top(frames=[3]), "frames[0]"),
    (top(frames=[{}]), "frames[0]: file_path"),
    (frame(file_path=3), "frames[1]: file_path"),
    (frame(file_path=""), "frames[1].file_path"),
    (frame(file_path="../x.png"), "frames[1].file_path"),
    (frame(file_path="/etc/passwd"), "frames[1].file_path"),
    (frame(file_path="x" * 300), "frames[1].file_path"),
    (frame(file_path="images/\0.png"), "frames[1].file_path"),
    (frame(file_path="images/\udcff.png"), "frames[1].file_path"),
    (frame(file_path="images"), "frames[1].file_path"),
    (frame(transform_matrix=[]), "frames[1].transform_matrix"),
    (frame(transform_matrix=3), "frames[1]: transform_matrix"),
    (frame(transform_matrix=[[1, 2], [3]]), "frames[1].transform_matrix"),
    (frame(transform_matrix=[[NAN] * 4] * 4), "frames[1].transform_matrix"),
    (frame(transform_matrix=[[10**400] * 4] * 4), "frames[1].transform_matrix"),
    (frame(transform_matrix=(2 * np.eye(4)).tolist()), "frames[1].transform_matrix"),
    (frame(transform_matrix=np.diag([1.0, 1, -1, 1]).tolist()), "frames[1].transform_matrix"),
    (top(w=0), "w"),
    (top(w=-16), "w"),
    (top(w="16"), "w"),
    (top(h=INF), "h"),
    (top(h=True), "h"),
    (top(fl_x=0), "fl_x"),
    (top(fl_y=-1), "fl_y"),
    (top(fl_x=NAN), "fl_x"),
    (top(cx=INF), "cx"),
    (top(cy=[8]), "cy"),
    (top(k1="0"), "k1"),
    (top(k1=-9.0), "distortion"),
    (top(camera_model="FISHEYE624"), "camera_model"),
    (top(camera_model="EQUIRECTANGULAR"), "camera_model"),
    (top(camera_model=["OPENCV"]), "camera_model"),
    (top(camera_model="OPENCV", is_fisheye=True), "is_fisheye"),
    (top(is_fisheye="yes"), "is_fisheye"),
    (top(is_fisheye=1), "is_fisheye"),
    (top(ftheta_p0=1.0), "ftheta_p0"),
    (top(latlong=True), "latlong"),
    (top(equirectangular=True), "equirectangular"),
    (top(rolling_shutter=[0, 0, 0, 1]), "rolling_shutter"),
    (top(fisheye_crop_radius=100), "fisheye_crop_radius"),
    (top(distortion_params=[0.1] * 12), "distortion_params"),
    (top(distortion_params=[0.1] * 5), "distortion_params"),
    (top(distortion_params="none"), "distortion_params"),
    (top(distortion_params=[0, 0, 0, 0, 0, None]), "distortion_params"),
    (frame(distortion_params=[0.1]), "distortion_params"),
    (top(fl_x=None, camera_angle_x=0), "camera_angle_x"),
    (top(fl_x=None, camera_angle_x=4), "camera_angle_x"),
    (top(fl_x=None, camera_angle_x="wide"), "camera_angle_x"),
    (top(camera_angle_y=-1), "camera_angle_y"),
    (top(camera_angle_y=NAN), "camera_angle_y"),
    (top(train_filenames=["nowhere.png"]), "train_filenames"),
    (top(train_filenames=3), "train_filenames"),
    (top(test_filenames=[3]), "test_filenames"),
    (top(orientation_override="sideways"), "orientation_override"),
    (frame(mask_path="images/0001.png"), "mask_path"),
]


@pytest.mark.parametrize(("change", "named"), SCENES, ids=range(len(SCENES)))
def test_cameras_that_are_not_understood_are_named(tmp_path: Path, change: Change, named: str) -> None:
    folder = nerfstudio(tmp_path / "s")

    def without_none(data: dict[str, Any]) -> None:
        change(data)
        for key in [key for key, value in data.items() if value is None]:
            del data[key]

    edit_json(folder / "transforms.json", without_none)
    with pytest.raises(InputError) as error:
        read_transforms(folder, CAPTURE)
    check_line(error, named)
    assert "transforms.json" in str(error.value)


def lens(tmp_path: Path, **changes: Any) -> Lens:
    return read_transforms(nerfstudio(tmp_path / "s", **changes)).lenses[0]


def test_both_camera_angles_are_read(tmp_path: Path) -> None:
    found = lens(tmp_path, fl_x=None, fl_y=None, camera_angle_x=np.pi / 2, camera_angle_y=2 * np.arctan(2))
    assert (found.fx, found.fy) == pytest.approx((8, 4))


def test_a_crop_may_have_its_principal_point_outside(tmp_path: Path) -> None:
    found = lens(tmp_path, cx=-3.5, cy=40.0)
    assert (found.cx, found.cy) == (-3.5, 40.0)


def test_instant_ngps_flag_is_a_fisheye(tmp_path: Path) -> None:
    assert lens(tmp_path, camera_model=None, is_fisheye=True).fisheye


def test_listed_distortion_is_nerfstudios_order_and_wins(tmp_path: Path) -> None:
    given = [0.01, 0.002, 0.003, 0.0004, 0.005, 0.006]
    found = lens(tmp_path, k1=0.5, distortion_params=given)
    assert [found.k1, found.k2, found.k3, found.k4, found.p1, found.p2] == given


def grey(values: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.kron(np.array(values, np.uint8), np.ones((8, 8), np.uint8)))


def palette(colours: list[int], values: list[list[int]]) -> Image.Image:
    image = grey(values)
    out = Image.frombytes("P", image.size, image.tobytes())
    out.putpalette(colours)
    return out


MASKS: list[tuple[str, Image.Image, bool]] = [  # file, picture, whether its right half is looked at
    ("a.png", grey([[0, 255]]), True),
    ("a.png", grey([[0, 1]]), True),
    ("a.png", grey([[0, 127]]), True),
    ("a.png", grey([[0, 1]]).convert("RGB"), True),
    ("a.png", grey([[0, 9]]).convert("RGBA"), True),
    ("a.png", grey([[0, 9]]).convert("LA"), True),
    ("a.png", grey([[0, 255]]).convert("1"), True),
    ("a.png", Image.fromarray(np.asarray(grey([[0, 1]]), np.uint16)), True),
    ("a.png", palette([0, 0, 0, 128, 0, 0], [[0, 1]]), True),
    ("a.png", palette([0, 0, 0, 1, 1, 1], [[0, 1]]), True),
    ("a.jpg", grey([[0, 255]]), True),
    ("a.jpg", grey([[3, 250]]), True),
    ("a.jpg", grey([[0, 255]]).convert("RGB"), True),
    ("a.jpg", grey([[0, 1]]), False),
    ("a.png", palette([255, 255, 255, 0, 0, 0], [[0, 1]]), False),
    ("a.png", palette([0, 0, 0, 0, 0, 0], [[0, 1]]), False),
    ("a.png", Image.merge("RGB", [grey([[0, 255]]), grey([[0, 0]]), grey([[0, 0]])]), False),
    ("a.png", Image.merge("LA", [grey([[0, 255]]), grey([[0, 255]])]), False),
]


@pytest.mark.parametrize(("name", "picture", "read"), MASKS, ids=range(len(MASKS)))
def test_masks_mean_what_their_makers_mean_or_are_refused(
    tmp_path: Path, name: str, picture: Image.Image, read: bool
) -> None:
    picture.save(tmp_path / name)
    if read:
        seen = read_mask(tmp_path / name, picture.size)
        assert not seen[:, :7].any()
        assert seen[:, 9:].all()
        return
    with pytest.raises(InputError) as error:
        read_mask(tmp_path / name, picture.size)
    check_line(error, name)


def test_a_pixel_masked_in_part_is_masked(tmp_path: Path) -> None:
    grey([[0, 1, 1, 1]]).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png", (2, 1)).tolist() == [[False, True]]


def test_a_mask_that_is_refused_is_refused_before_the_run(tmp_path: Path) -> None:
    folder = nerfstudio(tmp_path / "s")
    palette([255, 255, 255, 0, 0, 0], [[0, 1], [0, 1]]).save(folder / "m.png")
    edit_json(folder / "transforms.json", lambda d: [f.update(mask_path="m.png") for f in d["frames"]])
    for read in (check_views, read_views):
        with pytest.raises(InputError, match=r"m\.png: found a palette"):
            read(folder)


ENTRY = {
    "image_path": "a.jpg",
    "original_prompt": "a [cat]",
    "editing_prompt": "a [dog]",
    "editing_type_id": "1",
    "mask": [0, 9],
}
PIE: list[tuple[Any, str]] = [
    ([], "mapping_file.json"),
    ({}, "dataset.types"),
    ({"a": 3}, "a"),
    ({"a": {}}, "editing_type_id"),
    ({"a": ENTRY | {"editing_type_id": "x"}}, "editing_type_id"),
    ({"a": ENTRY | {"editing_type_id": HUGE}}, "editing_type_id"),
    ({"a": ENTRY | {"image_path": 3}}, "image_path"),
    ({"a": ENTRY | {"image_path": "../a.jpg"}}, "image_path"),
    ({"a": ENTRY | {"image_path": "nowhere.jpg"}}, "nowhere.jpg"),
    ({"a": ENTRY | {"original_prompt": None}}, "original_prompt"),
    ({"a": ENTRY | {"original_prompt": "[]"}}, "source prompt"),
    ({"a": ENTRY | {"editing_prompt": "  "}}, "target prompt"),
    ({"a": ENTRY | {"mask": None}}, "mask"),
    ({"a": ENTRY | {"mask": [1]}}, "mask"),
    ({"a": ENTRY | {"mask": [0, -1]}}, "mask"),
    ({"a": ENTRY | {"mask": ["x", 1]}}, "mask"),
    ({"a": ENTRY | {"mask": [NAN, 1]}}, "mask"),
    ({"a": ENTRY | {"mask": [[0, 9]]}}, "mask"),
    ({"a": ENTRY | {"mask": f"{HUGE} 1"}}, "mask"),
    ({"": ENTRY}, "id"),
    ({"..": ENTRY}, "id"),
    ({"a/../b": ENTRY}, "id"),
    ({"a": ENTRY, "a/b": ENTRY}, "inside"),
    ({"a": {key: value for key, value in ENTRY.items() if key != "mask"}}, "mask"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pie")
    (root / "annotation_images").mkdir()
    Image.new("RGB", (512, 512)).save(root / "annotation_images/a.jpg")
    return root


def read_pie(root: Path, entries: Any) -> list[Any]:
    (root / "mapping_file.json").write_text(json.dumps(entries))
    return list(Pie(root=str(root), types=list(range(10)), edits="all").read())


@pytest.mark.parametrize(("entries", "named"), PIE, ids=range(len(PIE)))
def test_a_mapping_that_is_none_is_named(pictures: Path, entries: Any, named: str) -> None:
    with pytest.raises(InputError) as error:
        read_pie(pictures, entries)
    check_line(error, named)


def test_brackets_may_stand_around_a_part_of_a_word(pictures: Path) -> None:
    prompts = {"original_prompt": "a [snow]man", "editing_prompt": "a [sand]man [by the sea]"}
    (edit,) = read_pie(pictures, {"a": ENTRY | prompts})
    assert (edit.source_prompt, edit.target_prompt) == ("a snowman", "a sandman by the sea")


@pytest.mark.parametrize("runs", [[262100, 10**6], [262100, 10**400], [262100, 44, 10**9, 5]])
def test_mask_runs_past_the_end_are_cut(pictures: Path, runs: list[int]) -> None:
    (edit,) = read_pie(pictures, {"a": ENTRY | {"mask": runs}})
    assert edit.mask is not None
    mask = np.asarray(Image.open(edit.mask)) > 0
    assert not mask[1:-1, 1:-1].any()  # the border is annotated always
    assert mask[-1].all()


IDS: list[tuple[list[str], Any, str | None, str]] = [
    ([], "all", None, "no edits"),
    (["a", "a"], "all", None, "twice"),
    (["a", "a/b"], "all", None, "inside"),
    (["a/b/c", "a"], "all", None, "inside"),
    ([""], "all", None, "''"),
    (["."], "all", None, "'.'"),
    (["a/"], "all", None, "'a/'"),
    (["./a"], "all", None, "'./a'"),
    (["a//b"], "all", None, "'a//b'"),
    (["/a"], "all", None, "'/a'"),
    (["a/../b"], "all", None, "'a/../b'"),
    (["a"], None, None, "None"),
    (["a"], 1.5, None, "1.5"),
    (["a"], -1, None, "-1"),
    (["a"], "2-1", None, "2-1"),
    (["a"], "1-" + HUGE, None, "1-"),
    (["a"], ["a", "a"], None, "twice"),
    (["a"], ["b"], None, "'b'"),
    (["a"], [["a"]], None, "[['a']]"),
    (["a"], "all", "1/2", "dataset.shard"),
    (["a"], "all", "1/0", "dataset.shard"),
    (["a"], "all", "-1/1", "dataset.shard"),
    (["a"], "all", HUGE + "/1", "dataset.shard"),
]


@pytest.mark.parametrize(("ids", "choice", "shard", "named"), IDS, ids=range(len(IDS)))
def test_ids_that_name_no_folder_of_their_own_are_refused(
    ids: list[str], choice: Any, shard: str | None, named: str
) -> None:
    with pytest.raises(InputError) as error:
        select(ids, choice, shard=shard)
    assert named in str(error.value)


@pytest.mark.parametrize("name", ["..", "../a", "a/../..", "/", "/etc", "link/a", "a\0b", "\ud800", "loop"])
def test_a_path_stays_inside_its_root(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    (root / "loop").symlink_to(tmp_path / "loop2")
    (tmp_path / "loop2").symlink_to(root / "loop")
    with pytest.raises(InputError, match="^key: found"):
        inside(root, name, "key")


RECORD = {"id": "a", "path": "s", "source_prompt": "a cat", "target_prompt": "a dog"}
RECORDS: list[tuple[Any, str]] = [
    (3, "records"),
    ([], "no edits"),
    ([3], "records[0]"),
    ([{}], "id"),
    ([RECORD | {"id": 3}], "id"),
    ([RECORD | {"id": "../a"}], "../a"),
    ([RECORD | {"path": "../.."}], "path"),
    ([RECORD | {"path": "nowhere"}], "nowhere"),
    ([RECORD | {"source_prompt": ""}], "source prompt"),
    ([RECORD | {"target_prompt": 3}], "target_prompt"),
    ([RECORD | {"type": 3}], "type"),
    ([RECORD | {"truth": 3}], "truth"),
    ([RECORD | {"truth": "/etc"}], "truth"),
    ([RECORD | {"truth": "s"}], "truth"),
    ([RECORD, RECORD], "twice"),
]


@pytest.mark.parametrize(("records", "named"), RECORDS, ids=range(len(RECORDS)))
def test_records_that_are_none_are_named(tmp_path: Path, records: Any, named: str) -> None:
    nerfstudio(tmp_path / "s")
    (tmp_path / "benchmark.json").write_text(json.dumps({"records": records}))
    with pytest.raises(InputError) as error:
        list(Noe(root=str(tmp_path), edits="all").read())
    check_line(error, named)


CAMERA = {"camera_to_world": np.eye(4).ravel().tolist(), "fov": 50, "aspect": 1}
PATHS: list[tuple[Any, str]] = [
    ({}, "camera_path"),
    ({"camera_path": []}, "camera_path"),
    ({"camera_path": [3]}, "camera_path[0]"),
    ({"camera_path": [{}]}, "camera_to_world"),
    ({"camera_path": [CAMERA | {"camera_to_world": [0] * 16}]}, "camera_to_world"),
    ({"camera_path": [CAMERA | {"camera_to_world": [INF] * 16}]}, "camera_to_world"),
    ({"camera_path": [CAMERA | {"camera_to_world": ["a"] * 16}]}, "camera_to_world"),
    ({"camera_path": [CAMERA | {"fov": 0}]}, "fov"),
    ({"camera_path": [CAMERA | {"fov": 180}]}, "fov"),
    ({"camera_path": [CAMERA | {"aspect": 1000}]}, "aspect"),
    ({"camera_path": [CAMERA], "render_width": 10**6, "render_height": 9}, "render_width"),
    ({"camera_path": [CAMERA], "render_height": 64}, "render_width"),
    ({"camera_path": [CAMERA], "fps": 0}, "fps"),
    ({"camera_path": [CAMERA], "fps": NAN}, "fps"),
    ({"camera_path": [CAMERA], "camera_type": "fisheye"}, "camera_type"),
]


@pytest.mark.parametrize(("data", "named"), PATHS, ids=range(len(PATHS)))
def test_a_camera_path_that_is_none_is_named(tmp_path: Path, data: Any, named: str) -> None:
    (tmp_path / "p.json").write_text(json.dumps(data))
    with pytest.raises(InputError) as error:
        read_camera_path(tmp_path / "p.json")
    check_line(error, named)


EDIT = {"source_prompt": "a cat", "target_prompt": "a dog", "type": "translation", "path": "x/a"}
REPLIES = [
    "",
    "no",
    "{}",
    "[" * 100_000,
    "[]",
    "[3]",
    f"[{HUGE}]",
    "```json\n{",
    json.dumps([EDIT]),
    json.dumps([EDIT | {"path": "x/b"}]),
    json.dumps([EDIT | {"type": "other"}]),
    json.dumps([EDIT | {"target_prompt": "a cat"}]),
    json.dumps([EDIT | {"target_prompt": "word " * 99}]),
    json.dumps([EDIT, EDIT | {"type": "addition", "source_prompt": "a cow"}, EDIT | {"type": "texturing"}]),
]


@pytest.mark.parametrize("reply", REPLIES, ids=range(len(REPLIES)))
def test_a_reply_that_is_no_list_of_edits_is_refused(reply: str) -> None:
    with pytest.raises(InputError, match=r"^the reply for x/a"):
        parse_reply(reply, "x/a")


def make(kind: str, path: Path) -> Path:
    """Put something that is no file, or no whole one, at `path`."""
    makers: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "circle": lambda: path.symlink_to(path),
        "empty": path.touch,
        "zeros": lambda: path.write_bytes(bytes(64)),
        "deep": lambda: path.write_text("[" * 100_000),
        "digits": lambda: path.write_text(f'{{"a": {HUGE}}}'),
        "latin": lambda: path.write_bytes(b'{"a": "\xe4"}'),
    }
    makers[kind]()
    return path


READERS: dict[str, Callable[[Path], object]] = {
    "x.json": read_json,
    "x.yaml": read_yaml,
    "x.txt": read_prompts,
    "edits.json": read_edits,
    "x.png": read_rgb,
    "y.png": check_image,
    "m.png": lambda path: read_mask(path, (8, 8)),
    "x.glb": lambda path: list_sources(path, "all")[0].read(),
    "object-paths.json.gz": lambda path: list_sources(path.parent, ["a"]),
    "transforms.json": lambda path: front_view(path.parent),
    "path.json": read_camera_path,
}
KINDS = ["nothing", "pipe", "device", "folder", "circle", "empty", "zeros", "deep", "digits", "latin"]
CONTENTS = {"x.glb": KINDS[:5], "x.yaml": [kind for kind in KINDS if kind not in ("empty", "digits")]}


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in READERS for k in CONTENTS.get(n, KINDS)])
def test_a_reader_refuses_what_is_no_whole_file(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(InputError) as error:
        READERS[name](make(kind, tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_picture_that_says_it_is_enormous_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: found an unreadable file"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("prompts", ["", "one", "a\nb\nc", "\n\n", "a\n \n"])
def test_prompts_that_are_not_two_are_refused(tmp_path: Path, prompts: str) -> None:
    (tmp_path / "p.txt").write_text(prompts)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"p\.txt"):
        Single(path=str(tmp_path / "a.png"), source="", target="", prompts=str(tmp_path / "p.txt")).read()
