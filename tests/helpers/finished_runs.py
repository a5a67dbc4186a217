"""Run folders as piva.run leaves them, with numbers of the test's choice."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

TYPES = ("texturing", "addition")
NETWORKS = {"clip": "toys-clip", "lpips": "toys-lpips"}


def write_run(
    folder: Path,
    values: dict[str, dict[str, float]],
    *,
    score: str = "DDS",
    lam: float | None = None,
    seed: int = 0,
    networks: dict[str, str] = NETWORKS,
    prior: str = "toys",
    settings: dict[str, Any] | None = None,
    prompts: tuple[str, str] = ("a red {}", "a blue {}"),
    snapshots: dict[int, dict[str, dict[str, float]]] | None = None,
    types: Sequence[int] | None = None,
    steps: int = 4,
    groups: dict[str, Any] | None = None,
) -> Path:
    """Write a finished run of metrics by edit; `settings` are keys of its score, `groups` its own."""
    (folder / "edits").mkdir(parents=True)
    score_settings = {
        "_target_": f"piva.scores.{score.lower()}.{score}",
        "guidance_scale": 7.5,
        **(settings or {}),
    }
    config = {
        "task": {"_target_": "piva.tasks.image.ImageTask", "lr": 0.1},
        "score": score_settings | ({} if lam is None else {"lam": lam}),
        "dataset": {"_target_": "piva.datasets.noe.Noe", "root": "toys", "edits": list(values)},
        "prior": {"_target_": "piva.priors.stable_diffusion.StableDiffusion", "path": prior},
        "lambda": 0.4,
        "edits": list(values),
        "steps": steps,
        "seed": seed,
        "device": "cpu",
        **(groups or {}),
    }
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    rows = [
        {
            "id": edit,
            "type": TYPES[types[i] if types else i % 2],
            "source_prompt": prompts[0].format(edit),
            "target_prompt": prompts[1].format(edit),
            **numbers,
        }
        for i, (edit, numbers) in enumerate(values.items())
    ]
    _write(folder / "metrics.csv", rows)
    if snapshots:
        early = [
            {"id": edit, "step": step, **numbers}
            for step, edits in snapshots.items()
            for edit, numbers in edits.items()
        ]
        _write(folder / "snapshots.csv", early)
    keys = [key for key in rows[0] if "/" in key]
    summary = {
        "mean": {key: float(np.mean([row[key] for row in rows])) for key in keys},
        "unet": {"forward_per_step": 2.0},
        "metric_networks": networks,
        "choices": {
            "score": score.lower(),
            "task": "image",
            "dataset": "noe",
            "prior": prior,
            "profile": "cpu",
        },
        "provenance": {"commit": "abc1234", "device": "cpu"},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    steps = [
        {"edit": edit, "step": step, "t": 500, "train/direction_rms": 0.5}
        for edit in values
        for step in range(4)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
    for i, edit in enumerate(values):
        place = folder / "edits" / edit
        place.mkdir(parents=True)
        for j, name in enumerate(("before", "after", "truth")):
            Image.new("RGB", (200, 100), (50 * i % 256, 80 * j, seed)).save(place / f"{name}.png")
    return folder


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def drawn(edits: list[str], shift: float = 0.0, seed: int = 0) -> dict[str, dict[str, float]]:
    """Metrics of edits, drawn around `shift`."""
    generator = np.random.default_rng(seed)
    return {
        edit: {
            "eval/clip": float(generator.normal(0.7 + shift, 0.1)),
            "eval/lpips": float(generator.normal(1 - shift, 0.2)),
            "truth/psnr": float(generator.normal(20 + shift, 2)),
            "nothing/clip": 0.5,
            "nothing/psnr": 18.0,
            "best/clip": 0.8,
        }
        for edit in edits
    }
