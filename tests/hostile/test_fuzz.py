"""Whatever a file holds, a reader returns something or raises the one error; `make check-slow`."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from helpers.finished_runs import drawn, write_run
from helpers.glbs import changed, glb, picture, textured
from helpers.scenes import nerfstudio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from piva.datasets.noe import Noe
from piva.datasets.pie import Pie
from piva.datasets.transforms import read_transforms
from piva.errors import InputError
from piva.noe.model import read_model
from piva.priors.layout import check_readable
from piva.runs.run import Run

pytestmark = pytest.mark.slow
fuzzed = settings(
    max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["", ".", "..", "/", "a", "images/0000.png", 10**400, -1, 2**63, 1e308])
)  # fmt: skip
KEYS = st.text(max_size=5)
JSON = st.recursive(
    LEAVES, lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=4)
)
BOX = glb(textured(trimesh.creation.box(), np.zeros((8, 2)), picture()).scene())
STATE = struct.pack("<Q", 60) + b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}      ' + bytes(8)


def refuses_or_reads(read: Callable[[], object]) -> None:
    try:
        read()
    except InputError as error:
        assert "found" in str(error)  # noqa: PT017 - either is right


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a tree of JSON."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path] * bool(path) + [place for key, value in items for place in places(value, (*path, key))]


def spoilt(data: st.DataObject, tree: Any) -> Any:
    """Return a tree of JSON with another value, or none, at one or two of its places."""
    tree = json.loads(json.dumps(tree))
    for _ in range(data.draw(st.integers(1, 2))):
        *above, last = data.draw(st.sampled_from(places(tree)))
        holder = tree
        for key in above:
            holder = holder[key]
        if data.draw(st.booleans()):
            holder[last] = data.draw(JSON)
        elif isinstance(holder, dict):
            del holder[last]
        if not places(tree):
            break
    return tree


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nerfstudio(tmp_path_factory.mktemp("fuzz") / "s")


@fuzzed
@given(data=st.data())
def test_cameras(scene: Path, data: st.DataObject) -> None:
    good = scene.parent / "good.json"
    if not good.exists():
        shutil.copy(scene / "transforms.json", good)
    (scene / "transforms.json").write_text(json.dumps(spoilt(data, json.loads(good.read_text()))))
    refuses_or_reads(lambda: read_transforms(scene))


@fuzzed
@given(data=st.data())
def test_benchmarks(tmp_path_factory: pytest.TempPathFactory, scene: Path, data: st.DataObject) -> None:
    record = {"id": "a", "path": "s", "source_prompt": "a cat", "target_prompt": "a dog", "type": "x"}
    (scene.parent / "benchmark.json").write_text(json.dumps(spoilt(data, {"records": [record]})))
    refuses_or_reads(lambda: list(Noe(root=str(scene.parent), edits="all").read()))


@fuzzed
@given(data=st.data())
def test_mappings(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.getbasetemp() / "fuzz_pie"
    if not root.exists():
        (root / "annotation_images").mkdir(parents=True)
        Image.new("RGB", (512, 512)).save(root / "annotation_images/a.jpg")
    entry: dict[str, Any] = {"image_path": "a.jpg", "original_prompt": "a [cat]", "editing_prompt": "a [dog]"}
    entry |= {"editing_type_id": "1", "mask": [0, 9]}
    (root / "mapping_file.json").write_text(json.dumps(spoilt(data, {"a": entry})))
    refuses_or_reads(lambda: list(Pie(root=str(root), types=list(range(10)), edits="all").read()))


@fuzzed
@given(data=st.data())
def test_objects(data: st.DataObject) -> None:
    def change(tree: dict[str, Any]) -> None:
        other = spoilt(data, tree)
        tree.clear()
        tree.update(other)

    refuses_or_reads(lambda: read_model(changed(BOX, change), "x.glb"))


@fuzzed
@given(at=st.integers(0, len(BOX) - 1), byte=st.integers(0, 255), end=st.integers(0, len(BOX)))
def test_bytes_of_objects(at: int, byte: int, end: int) -> None:
    content = bytearray(BOX)
    content[at] = byte
    refuses_or_reads(lambda: read_model(bytes(content[: max(end, at)]), "x.glb"))


@fuzzed
@given(content=st.binary(max_size=80) | st.builds(lambda at, b: STATE[:at] + b + STATE[at + 1 :],
       st.integers(0, len(STATE)), st.binary(min_size=1, max_size=1)))  # fmt: skip
def test_headers_of_weights(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(content)
    refuses_or_reads(lambda: check_readable(path))


@fuzzed
@given(data=st.data(), name=st.sampled_from(["summary.json", "config.yaml", "metrics.csv", "metrics.jsonl"]))
def test_run_folders(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str) -> None:
    good = tmp_path_factory.getbasetemp() / "fuzz_run"
    if not good.exists():
        write_run(good, drawn(["mug"]))
    path, kept = good / name, (good / name).read_bytes()
    if name == "summary.json":
        path.write_text(json.dumps(spoilt(data, json.loads(kept))))
    else:
        at, some = data.draw(st.integers(0, len(kept))), data.draw(st.binary(max_size=4))
        path.write_bytes(kept[:at] + some + kept[at + len(some) :])

    def read() -> None:
        run = Run.read(good)
        _ = run.steps, run.status, run.reason, run.approach

    try:
        refuses_or_reads(read)
    finally:
        path.write_bytes(kept)
