"""A finished run of task=nerf on disk, made without one: two balls of four colours as voxel fields in closed
form.
"""

import csv

import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from piva.config import compose
from piva.nerf.field import FLOOR
from piva.nerf.occupancy import Occupancy
from piva.nerf.voxels import Voxels

NODES, RADIUS = 48, 1.0
SMALL = [
    f"field.{w}"
    for w in ("radius=1", "resolutions=[48]", "steps=[1]", "step=0.02", "occupancy=32", "threshold=0.5")
]


def ball(size, green, middle=(0.0, 0.0, 0.1), speck=False):
    """A ball of that radius: red where x > 0, blue elsewhere, `green` more of green where y < 0 (its front);
    below it is dark.
    """
    line = torch.linspace(-RADIUS, RADIUS, NODES)
    x, y, z = torch.meshgrid(line, line, line, indexing="ij")
    inside = size - ((x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2).sqrt()
    if speck:
        inside = torch.maximum(inside, 0.07 - ((x - 0.8) ** 2 + (y + 0.8) ** 2 + (z - 0.8) ** 2).sqrt())
    raw = (inside * 150).clamp(FLOOR, 8.0)
    rgb = torch.stack([0.2 + 0.6 * (x > 0), 0.2 + green * (y < 0), 0.8 - 0.6 * (x > 0)]) * (
        0.3 + 0.7 * (z > 0)
    )
    field = Voxels(raw[None, None], torch.logit(rgb)[None], RADIUS)
    occupancy = Occupancy(RADIUS, 32)
    occupancy.refresh(field.density, 0.5)
    return {**{k: v.detach() for k, v in field.state_dict().items()}, "occupied": occupancy.occupied}


def ball_of_splats(size, green, middle=(0.0, 0.0, 0.1)):
    """The same ball as a shell of round, opaque splats."""
    index = torch.arange(1500) + 0.5
    z, turn = 1 - index / 750, torch.pi * (1 + 5**0.5) * index
    direction = torch.stack([turn.cos() * (1 - z * z).sqrt(), turn.sin() * (1 - z * z).sqrt(), z], dim=1)
    x, y, z = (size * direction + torch.tensor(middle)).unbind(dim=1)
    rgb = torch.stack([0.2 + 0.6 * (x > 0), 0.2 + green * (y < 0), 0.8 - 0.6 * (x > 0)], dim=1)
    rgb = rgb * (0.3 + 0.7 * (z > 0))[:, None]
    return {
        "means": torch.stack([x, y, z], dim=1),
        "scales": torch.full((1500, 3), 0.06 * size).log(),
        "quats": torch.tensor([1.0, 0, 0, 0]).repeat(1500, 1),
        "opacities": torch.logit(torch.full((1500,), 0.9)),
        "sh0": ((rgb - 0.5) / 0.28209479177387814)[:, None],
        "shN": torch.zeros(1500, 0, 3),
        "to_file": torch.eye(4),
    }


def half(tensors):
    return {f"original.{k}": v.half() if v.is_floating_point() else v for k, v in tensors.items()}


def write_splat_run(folder):
    """The edit ball/green, of splats."""
    return write_run(folder, ("ball/green",), ball_of_splats, ("field=splats", "field.radius=1"))


def write_run(folder, edits=("ball/green", "ball/grown"), ball=ball, field=SMALL):
    """Edits by name: a ball that turned green in front, and one that also grew."""
    made = {"ball/green": ball(0.6, 0.5)}
    if "ball/grown" in edits:
        made["ball/grown"] = ball(0.7, 0.5, speck=True)
    original = half(ball(0.6, 0.0))
    original.pop("original.to_file", None)  # the edit's, in full precision
    cfg = compose("task=nerf", "dataset=noe", "dataset.root=gone", *field)
    config = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [k for k in cfg if k != "hydra"]), resolve=True
    )
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    with (folder / "metrics.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "type", "source_prompt", "target_prompt"])
        rows.writerows([name, "", "a ball", f"a {name[5:]} ball"] for name in edits)
    for name in edits:
        place = folder / "edits" / name
        place.mkdir(parents=True)
        save_file(
            {k: v.contiguous() for k, v in (made[name] | original).items()}, place / "state.safetensors"
        )
    return folder
