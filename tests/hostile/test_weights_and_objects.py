"""Somebody else's prior, checkpoint, networks and GLB are data: what makes no sense in them is one line."""

import hashlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from helpers.glbs import changed, glb, picture, textured
from omegaconf import OmegaConf

from piva.config import RunSettings, build
from piva.datasets.in2n import In2n
from piva.errors import InputError, one_line, out_of_memory
from piva.export.settings import RingSettings
from piva.metrics.toys import check_network
from piva.models.controlnet import ControlNet
from piva.models.lora import Lora
from piva.nerf.settings import HashFit, VoxelFit
from piva.noe import materials
from piva.noe.chat import Chat, NoAnswer
from piva.noe.model import read_model
from piva.noe.settings import BuildNoe
from piva.priors.layout import check_configs, check_folder
from piva.runs.checkpoint import Checkpoints, explained, load
from piva.runs.deadline import within
from piva.runs.folder import EditRecord, from_json, json_safe
from piva.runs.run import Run
from piva.runs.tracking import WandB
from piva.tasks.nerf import NerfTask

NAN, INF = float("nan"), float("inf")
Change = Callable[[dict[str, Any]], object]
UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "cross_attention_dim": 8,
    "sample_size": 8,
    "block_out_channels": [8],
}
GOOD = {"unet": UNET, "vae": {"block_out_channels": [8]}, "text_encoder": {"hidden_size": 8}, "scheduler": {}}
SCHEDULES: list[tuple[str, dict[str, Any], str]] = [
    ("scheduler", {"num_train_timesteps": 0}, "num_train_timesteps"),
    ("scheduler", {"num_train_timesteps": 1}, "num_train_timesteps"),
    ("scheduler", {"num_train_timesteps": 10**9}, "num_train_timesteps"),
    ("scheduler", {"num_train_timesteps": "1000"}, "num_train_timesteps"),
    ("scheduler", {"num_train_timesteps": True}, "num_train_timesteps"),
    ("scheduler", {"trained_betas": 3}, "another kind"),
    ("scheduler", {"trained_betas": []}, "0 trained_betas"),
    ("scheduler", {"trained_betas": [0.1]}, "1 trained_betas"),
    ("scheduler", {"trained_betas": [NAN] * 1000}, "trained_betas"),
    ("scheduler", {"trained_betas": ["a"] * 1000}, "trained_betas"),
    ("scheduler", {"beta_start": NAN}, "beta_start"),
    ("scheduler", {"beta_start": -0.1}, "beta_start"),
    ("scheduler", {"beta_start": 0.5}, "beta_start"),
    ("scheduler", {"beta_end": 2}, "beta_end"),
    ("scheduler", {"beta_end": "0.02"}, "beta_end"),
    ("scheduler", {"beta_end": None}, "beta_end"),
    ("scheduler", {"beta_schedule": "mine"}, "beta_schedule"),
    ("scheduler", {"beta_schedule": ["linear"]}, "beta_schedule"),
    ("scheduler", {"prediction_type": "sample"}, "prediction_type"),
    ("scheduler", {"prediction_type": {}}, "prediction_type"),
    ("scheduler", {"_class_name": 5, "beta_start": NAN}, "beta_start"),
    ("scheduler", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "flow matching"),
    ("unet", {"sample_size": 10**6}, "sample_size"),
    ("unet", {"sample_size": -8}, "sample_size"),
    ("unet", {"sample_size": [8, True]}, "sample_size"),
    ("unet", {"in_channels": [4]}, "another kind"),
    ("unet", {"block_out_channels": []}, "block_out_channels"),
    ("unet", {"block_out_channels": 8}, "another kind"),
    ("vae", {"block_out_channels": [0]}, "block_out_channels"),
    ("vae", {"scaling_factor": 0}, "scaling_factor"),
    ("vae", {"scaling_factor": NAN}, "scaling_factor"),
    ("vae", {"scaling_factor": "1"}, "scaling_factor"),
]


def test_the_good_configurations_are_good() -> None:
    check_configs(GOOD, "prior.path=x")


@pytest.mark.parametrize(("part", "values", "named"), SCHEDULES, ids=range(len(SCHEDULES)))
def test_a_prior_that_makes_no_sense_is_named(part: str, values: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=rf"^prior\.path=x: found .*{named}"):
        check_configs(GOOD | {part: GOOD[part] | values}, "prior.path=x")


@pytest.mark.parametrize("name", ["unet/config.json", "tokenizer/vocab.json", "vae/x.safetensors"])
def test_a_pipe_in_a_prior_is_not_opened(prior_folder: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(prior_folder, tmp_path / "p"))
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match="a pipe, socket or device"):
        check_folder(folder, "prior.path=p", with_weights=True)


@pytest.mark.parametrize(
    "card", ["", "[]", "{}", '{"sha256": 3}', '{"architecture": {}, "sha256": 3}', "[" * 10**5]
)
def test_a_card_of_a_network_that_is_none_is_named(tmp_path: Path, card: str) -> None:
    (tmp_path / "clip.json").write_text(card)
    (tmp_path / "clip.safetensors").touch()
    with pytest.raises(InputError, match=r"clip\.json"):
        check_network(tmp_path, "clip")


def checkpoint(folder: Path, content: bytes, step: str = "00000001") -> Path:
    path = folder / f"{step}-{hashlib.sha256(content).hexdigest()}.pt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("tree", [3, {}, {"state": 3}, [1], {"state": {}, "models": None}, "text"])
def test_a_checkpoint_of_other_contents_is_named(tmp_path: Path, tree: Any) -> None:
    torch.save(tree, tmp_path / "x.pt")
    with (
        pytest.raises(InputError, match=r"x\.pt: found contents that do not fit"),
        explained(tmp_path / "x.pt"),
    ):
        load(tmp_path / "x.pt")["state"]["latents"].shape  # noqa: B018


def test_what_is_no_checkpoint_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"00000009-{'0' * 64}.pt")
    (tmp_path / f"00000008-{'0' * 64}.pt").symlink_to("/dev/zero")
    (tmp_path / "last-one.pt").touch()
    assert Checkpoints(tmp_path).newest() is None
    path = checkpoint(tmp_path, b"x")
    assert Checkpoints(tmp_path).newest() == (1, path)
    with pytest.raises(InputError, match=path.name), explained(path):
        load(path)


@pytest.mark.parametrize(
    "place", [".", "..", "../..", "/", "/etc", "../../other", "../.runs/../../x", "link"]
)
def test_a_duplicate_lies_in_the_same_sweep(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "sweep/a"
    folder.mkdir(parents=True)
    (tmp_path / "sweep/.runs").mkdir()
    (tmp_path / "other").mkdir()
    (folder / "link").symlink_to(tmp_path / "other")
    (folder / "same_as.json").write_text(json.dumps({"folder": place}))
    with pytest.raises(InputError, match=r"same_as\.json: folder: found"):
        _ = Run(folder).duplicate_of
    (folder / "same_as.json").write_text('{"folder": "../b"}')
    assert Run(folder).duplicate_of == Run(tmp_path / "sweep/b")


def test_an_infinite_number_survives_json(tmp_path: Path) -> None:
    row = {
        "id": "inf",
        "type": "",
        "source_prompt": "a",
        "target_prompt": "b",
        "eval/psnr": INF,
        "eval/clip": NAN,
    }
    EditRecord(row=row, snapshots=[], seconds={}, passes={}, diverged="far").write(tmp_path)
    json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    found = EditRecord.read(tmp_path)
    assert found is not None
    assert (found.row["id"], found.row["eval/psnr"], found.diverged) == ("inf", INF, "far")
    assert np.isnan(found.row["eval/clip"])
    assert from_json(json_safe(row)) == row | {"eval/clip": None}


def material(**values: Any) -> Change:
    return lambda data: data["materials"][0].update(values)


def base(**values: Any) -> Change:
    return lambda data: data["materials"][0]["pbrMetallicRoughness"].update(values)


def accessor(**values: Any) -> Change:
    return lambda data: data["accessors"][0].update(values)


BOX = glb(textured(trimesh.creation.box(), np.zeros((8, 2)), picture()).scene())
OBJECTS: list[Change] = [
    base(baseColorFactor=[NAN, 1, 1, 1]),
    base(baseColorFactor=[INF, 1, 1, 1]),
    base(baseColorFactor=[1, 1, 1]),
    base(baseColorFactor=[]),
    base(baseColorFactor="red"),
    base(baseColorTexture=3),
    base(baseColorTexture={"index": -9}),
    base(baseColorTexture={"index": 9}),
    base(baseColorTexture={"index": 0, "texCoord": "a"}),
    base(baseColorTexture={"index": 0, "extensions": {"KHR_texture_transform": {"scale": [NAN, 1]}}}),
    base(baseColorTexture={"index": 0, "extensions": {"KHR_texture_transform": {"offset": [1]}}}),
    base(baseColorTexture={"index": 0, "extensions": {"KHR_texture_transform": {"rotation": INF}}}),
    material(emissiveFactor=[0, NAN, 0]),
    material(emissiveFactor=[0, 0]),
    material(alphaCutoff="half"),
    material(alphaCutoff=NAN),
    material(extensions={"KHR_materials_emissive_strength": {"emissiveStrength": INF}}),
    material(extensions={"KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [NAN] * 4}}),
    material(extensions=3),
    accessor(count=-1),
    accessor(count=3 * 10**8),
    accessor(count=1.5),
    accessor(count="8"),
    accessor(type="VEC9"),
    accessor(componentType=None),
    accessor(byteOffset=-4),
    accessor(byteOffset=10**12),
    accessor(sparse={"count": 10**9, "indices": {}, "values": {}}),
    lambda d: d["bufferViews"][0].update(byteStride=1),
    lambda d: d["bufferViews"][0].update(byteLength=-1),
    lambda d: d["bufferViews"][0].update(buffer=1),
    lambda d: d["meshes"][0].update(primitives=3),
    lambda d: d["meshes"][0]["primitives"][0].update(attributes={}),
    lambda d: d["meshes"][0]["primitives"][0].update(material=9),
    lambda d: d["meshes"][0]["primitives"][0].update(indices=-1),
    lambda d: [node.update(matrix=[NAN] * 16) for node in d["nodes"]],
    lambda d: [node.update(matrix=[1] * 15) for node in d["nodes"]],
    lambda d: [node.update(rotation=[0, 0, 0]) for node in d["nodes"]],
    lambda d: [node.update(scale=[INF, 1, 1]) for node in d["nodes"]],
    lambda d: [node.update(children=[0]) for node in d["nodes"]],
    lambda d: [node.update(skin=0) for node in d["nodes"]],
    lambda d: d.update(scene=7),
    lambda d: d.update(scenes=[]),
    lambda d: d.update(extensionsRequired=3),
    lambda d: d.update(extensionsRequired=["KHR_audio"]),
    lambda d: d.update(buffers=[]),
]


@pytest.mark.parametrize("change", OBJECTS, ids=range(len(OBJECTS)))
def test_an_object_that_makes_no_sense_is_named(change: Change) -> None:
    with pytest.raises(InputError, match=r"^x\.glb: found"):
        read_model(changed(BOX, change), "x.glb")


def test_the_pictures_of_an_object_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materials, "MOST_TEXELS", 100)
    boxes = [textured(trimesh.creation.box(), np.zeros((8, 2)), picture(seed)) for seed in (0, 1)]
    read_model(glb(boxes[0].scene()), "x.glb")
    with pytest.raises(InputError, match="at most 100 texels in all"):
        read_model(glb(trimesh.Scene(boxes)), "x.glb")


SETTINGS: list[tuple[type, str, Any]] = [
    *[(RunSettings, key, value) for key, value in (
        *(("resolution", 10**6), ("resolution", 0), ("noises", 10**9), ("noises", 0), ("batch", 10**9)),
        *(("checkpoint_every", 0), ("passes", 0), ("steps", 10**12), ("seed", -1), ("device", "gpu")),
        *(("coarse", [INF]), ("measure_at", [0]), ("measure_at", 3), ("measure_at", [10**9])),
    )],
    *[(cls, key, value) for cls in (Lora, ControlNet) for key, value in (
        *(("rank", 0), ("rank", 10**6), ("alpha", 0), ("alpha", INF), ("lr", NAN), ("layers", "encoder")),
        *(("train_every", 10**9), ("steps_per_iteration", 10**9), ("source_warmup", -1), ("init", "zeros")),
    )],
    *[(cls, key, value) for cls in (VoxelFit, HashFit) for key, value in (
        *(("radius", 0), ("radius", 1e9), ("rays", 10**10), ("levels", 9), ("levels", 0), ("decay", 2)),
        *(("occupancy", 10**5), ("step", 1e-30), ("step", INF), ("cone", -1), ("refresh_every", 0)),
    )],
    *[(HashFit, key, value) for key, value in (
        *(("grid_levels", 1000), ("growth", 15.0), ("hidden", 10**7), ("features", 3), ("base", 10**9)),
    )],
    *[(NerfTask, key, value) for key, value in (
        *(("views", 0), ("views", 10**6), ("turntable", 10**5), ("turntable_size", 15), ("grow", 10**6)),
        *(("lr_warmup", 2), ("distance", [2]), ("fov_deg", [0.1, 5]), ("lr_end", 0)),
    )],
    *[(BuildNoe, key, value) for key, value in (
        *(("size", 10**6), ("size", 7), ("views", 0), ("views", 10**7), ("workers", 10**6)),
        *(("attempts", 10**6), ("timeout_s", 1e300), ("timeout_s", 0), ("distance", 1e9), ("fov_deg", 180)),
        *(("front_deg", INF), ("test_views", 0), ("elevation_deg", 90), ("noncommercial", "perhaps")),
    )],
    *[(WandB, key, value) for key, value in (("start_timeout", 1e12), ("finish_timeout", 0), ("mode", "on"))],
    *[(RingSettings, key, value) for key, value in (("views", 10**9), ("distance", 0), ("distance", 1e9))],
    *[(In2n, key, value) for key, value in (("downscale", 0), ("downscale", 10**6), ("near", INF))],
]  # fmt: skip
CONFIGURED = {
    RunSettings: ("config", ""),
    Lora: ("config", "model"),
    ControlNet: ("config model=controlnet", "model"),
    VoxelFit: ("config", "task.field"),
    HashFit: ("config field=hash", "task.field"),
    NerfTask: ("config", "task"),
    BuildNoe: ("build_noe source=x prompts=y", ""),
    WandB: ("config tracker=wandb", "tracker"),
    RingSettings: ("export", "ring"),
    In2n: ("config dataset=in2n", "dataset"),
}


@pytest.fixture(scope="module")
def composed() -> dict[type, dict[str, Any]]:
    from piva.config import compose

    found = {}
    for cls, (words, node) in CONFIGURED.items():
        name, *overrides = words.split()
        cfg = compose(*overrides, name=name)
        keys = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
        plain = OmegaConf.to_container(keys, resolve=True, throw_on_missing=False)
        for part in node.split(".") if node else ():
            plain = plain[part]  # type: ignore[index, call-overload]
        known = cls.__dataclass_fields__  # type: ignore[attr-defined]
        found[cls] = {key: value for key, value in plain.items() if key in known}  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize(("cls", "key", "value"), SETTINGS)
def test_a_setting_out_of_its_range_is_named(composed: Any, cls: type, key: str, value: Any) -> None:
    good = composed[cls]
    assert build(cls, OmegaConf.create(good), "here")
    with pytest.raises(InputError, match=key) as error:
        build(cls, OmegaConf.create(good | {key: value}), "here")
    assert "\n" not in one_line(error.value)


def test_a_tuned_controlnet_has_no_decoder(composed: Any) -> None:
    from piva.priors.stable_diffusion import StableDiffusion

    settings = build(ControlNet, OmegaConf.create(composed[ControlNet] | {"tune": True, "layers": "decoder"}))
    with pytest.raises(InputError, match=r"^model\.layers: found decoder beside model\.tune=true"):
        settings.check(StableDiffusion(path="toys", dtype="float32"))


def test_a_limit_holds_and_errors_pass() -> None:
    assert within(5, lambda: 3) == 3
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"after 0\.1 s"):
        within(0.1, lambda: time.sleep(2))
    assert time.monotonic() - begin < 1
    with pytest.raises(KeyError):
        within(5, lambda: {}["x"])


def test_an_endpoint_that_sends_a_byte_at_a_time_is_left_in_time() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        client, _ = server.accept()
        with client, suppress(OSError):  # when it is left
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n" + b"x" * 90:
                client.send(bytes([byte]))
                time.sleep(0.1)

    threading.Thread(target=drip, daemon=True).start()
    begin = time.monotonic()
    chat = Chat(f"http://127.0.0.1:{server.getsockname()[1]}/v1", "m", timeout_s=0.5, attempts=1)
    with pytest.raises(NoAnswer, match=r"timed out after 0\.5 s"):
        chat.ask([])
    assert time.monotonic() - begin < 2


def test_low_memory_is_told_by_whatever_says_it() -> None:
    assert out_of_memory(MemoryError())
    assert out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    )
    assert not out_of_memory(RuntimeError("shapes differ"))
    assert not out_of_memory(ValueError("out of memory"))
