"""What runs at Stable Diffusion 2.1's size need, without a GPU: `python -m benchmarks.memory [FOLDER]`.

FOLDER keeps the prior of random weights (3.4 GB). The counts are what a run says of itself before it starts.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.sd_size import write_photos, write_random
from piva.config import check, compose
from piva.experiment.memory import estimate
from piva.models.denoiser import Denoiser
from piva.models.needs import needs

COMMON = ("profile=gpu", "device=cpu", "prior.dtype=float16", "prior.controlnet=null", "metrics=pixels")
PICTURE = ("task=image", "dataset=noe", "edits=1")
SCENE = ("task=nerf", "dataset=noe", "root=toys", "edits=1")
CASES: dict[str, tuple[str, ...]] = {
    "picture, DDS": (*PICTURE, "score=dds"),
    "picture, Piva": (*PICTURE, "score=piva"),
    "picture, Piva, `speed.checkpointing=true`": (*PICTURE, "score=piva", "speed.checkpointing=true"),
    "picture, Piva, `model.layers=decoder`": (*PICTURE, "score=piva", "model.layers=decoder"),
    "picture, Piva, `batch=4`": (*PICTURE, "score=piva", "batch=4"),
    "picture, Piva, `batch=8`": (*PICTURE, "score=piva", "batch=8"),
    "scene, DDS": (*SCENE, "score=dds"),
    "scene, Piva, ControlNet": (*SCENE, "score=piva", "model=controlnet", "model.path=null"),
}


def main(folder: Path) -> None:
    """Print a table in GB; CUDA's own gigabyte is added."""
    prior = folder / "sd"
    if not (prior / "tokenizer").is_dir():
        write_random(prior)
    photos = (
        write_photos(folder / "photos", 1, 512) if not (folder / "photos").is_dir() else folder / "photos"
    )
    print("| at 512x512, float16 | networks | adapters | U-Net keeps | autoencoder keeps | all, GB |")
    print("|---|---|---|---|---|---|")
    for name, words in CASES.items():
        root = (f"dataset.root={photos}",) if "task=image" in words else ()
        settings = check(compose(*COMMON, f"prior.path={prior}", *words, *root))
        loaded = settings.prior.load("cpu")
        settings.run.speed.apply(loaded)
        learned = needs(settings.score).learned
        denoiser = settings.model.denoiser(loaded) if learned else Denoiser(loaded)
        parts = estimate(settings, denoiser)
        denoiser.detach()
        shown = ("networks", "adapters", "kept by the U-Net", "kept by the autoencoder")
        cells = " | ".join(f"{parts[part] / 1e9:.2f}" for part in shown)
        print(f"| {name} | {cells} | {sum(parts.values()) / 1e9 + 1:.1f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as temporary:
            main(Path(temporary))
