"""A run of two small edits, and what two equal runs leave behind."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

FILES = ("summary.json", "metrics.csv", "metrics.jsonl", "snapshots.csv")


def two_edits(folder: Path) -> list[str]:
    """Return overrides of a run of two edits of noise; the second's target prompt alone has a letter z."""
    (folder / "scene/images").mkdir(parents=True)
    frames = []
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    for name, noise in zip("ab", pixels, strict=True):
        Image.fromarray(noise).save(folder / f"scene/images/{name}.png")
        frames.append({"file_path": f"images/{name}.png", "transform_matrix": np.eye(4).tolist()})
    lens = {"fl_x": 30, "fl_y": 30, "cx": 16, "cy": 16, "w": 32, "h": 32}
    (folder / "scene/transforms.json").write_text(json.dumps(lens | {"frames": frames}))
    records = [
        {"id": f"a/{t}", "path": "scene", "source_prompt": "cat", "target_prompt": t}
        for t in ("dog", "zebra")
    ]
    (folder / "benchmark.json").write_text(json.dumps({"records": records}))
    data = [
        "task=image",
        "dataset=noe",
        f"dataset.root={folder}",
        "edits=all",
        "metrics=pixels",
        "resolution=32",
    ]
    return [
        *data,
        "schedule=uniform",
        "task.lr_steps=null",
        "task.optimiser=adam",
        "steps=12",
        "checkpoint_every=2",
        "measure_at=[3,7]",
    ]


def assert_equal_runs(one: Path, other: Path) -> None:
    """Compare all that does not hold times, byte for byte."""
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    first, second = (
        sorted(p.relative_to(folder) for p in folder.glob("edits/**/*") if p.is_file())
        for folder in (one, other)
    )
    assert first == second
    for path in first:
        if path.name != "result.json":
            assert (one / path).read_bytes() == (other / path).read_bytes(), path
