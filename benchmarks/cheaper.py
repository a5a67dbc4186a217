"""What cheaper learned models cost and do: `python -m benchmarks.cheaper FOLDER [OVERRIDE...]`.

Piva on edits of the development toys, one run a variant, all edits in one batch; runs that are in FOLDER
already are not made again. Seconds are of all edits' steps; passes are rows through the U-Net.
"""

import json
import sys
from pathlib import Path

from piva import compose, run

COMMON = ("task=image", "dataset=noe", "root=toys-dev", "dataset.edits=12", "batch=12", "reference=edit")
VARIANTS = {
    "DDS, `edit`": ("score=dds",),
    "DDS, `original`: the public code's four passes": ("score=dds", "reference=original"),
    "Piva": (),
    "`model.train_every=2`": ("model.train_every=2",),
    "`model.train_every=4`": ("model.train_every=4",),
    "`model.layers=decoder`": ("model.layers=decoder",),
    "`model.source_warmup=100`": ("model.source_warmup=100",),
    "`model.source_warmup=300`": ("model.source_warmup=300",),
    "`decoder`, `source_warmup=100`, `train_every=2`": (
        "model.layers=decoder",
        "model.source_warmup=100",
        "model.train_every=2",
    ),
    "`decoder`, `source_warmup=100`, `train_every=4`": (
        "model.layers=decoder",
        "model.source_warmup=100",
        "model.train_every=4",
    ),
}
METRICS = ("truth/psnr", "truth/lpips", "truth/psnr_outside", "eval/clip")


def main(folder: str, *overrides: str) -> None:
    """Run what is missing; print a table."""
    print(
        "| | passes a step | seconds | " + " | ".join(METRICS) + " |\n|---|---|---|" + "---|" * len(METRICS)
    )
    for i, (name, words) in enumerate(VARIANTS.items()):
        place = Path(folder) / f"{i}-{'-'.join(words).replace('/', '-') or 'piva'}"
        if not (place / "summary.json").is_file():
            run(compose(*COMMON, *words, *overrides, f"hydra.run.dir='{place}'"))

        summary = json.loads((place / "summary.json").read_text())
        timing = json.loads((place / "timing.json").read_text())
        seconds = sum(edit["optimise_s"] for edit in timing["edits"])
        passes = f"{summary['unet']['forward_per_step']:.3g} + {summary['unet']['backward_per_step']:.3g}"
        means = " | ".join(f"{summary['mean'][metric]:.3f}" for metric in METRICS)
        print(f"| {name} | {passes} | {seconds:.0f} | {means} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
