"""The training set of prior and metric networks: captioned renders of random toys, cached as arrays."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from piva.cameras.lens import focal_from_fov
from piva.cameras.poses import orbit
from piva.files import atomic
from piva.noe.generated import draw_all
from piva.toys.world import Toy, bounds, random_toy, renderer

CHUNK = 256
# Of its cameras, which are about those that runs with profile=cpu sample.
ELEVATION_DEG, DISTANCE, FOV_DEG = (8, 60), (3.8, 4.2), (38, 42)


@dataclass(frozen=True)
class Corpus:
    """Hold pictures and what they show."""

    images: NDArray[np.uint8]  # (n, size, size, 3)
    depth: NDArray[np.float16]  # (n, size, size) z-depth in world units, 0 = no hit
    captions: list[str]  # some shortened
    toys: list[Toy]


def draw(count: int, size: int, seed: int, cache: Path, workers: int, *, held_out: bool = False) -> Corpus:
    """Render `count` toys at `size`^2, or read from `cache` those chunks that an earlier run has written.

    Args:
        held_out: of all sorts; else none in the combinations that the prior is not to learn.
    """
    folder = cache / f"toys-{size}px-seed{seed}{'-all' if held_out else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(folder / f"{i:06d}.npz", size, (seed, i), held_out) for i in range(0, count, CHUNK)]
    missing = [job for job in jobs if not job[0].exists()]
    draw_all(_chunk, missing, workers, "the corpus of toys")
    chunks = [np.load(path) for path, *_ in jobs]
    images, depth = (
        np.concatenate([chunk[name] for chunk in chunks])[:count] for name in ("images", "depth")
    )
    captions = [str(text) for chunk in chunks for text in chunk["captions"]][:count]
    toys = [Toy(**json.loads(str(text))) for chunk in chunks for text in chunk["toys"]][:count]
    return Corpus(images, depth, captions, toys)


def picture(toy: Toy, rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Return RGB and depth. Camera, size, place and background, in no caption, are for edits to preserve."""
    centre, extent = bounds([toy])
    shift = rng.uniform((-0.04, -0.04, -0.04), (0.04, 0.04, 0.05)) * extent / 2
    scale = rng.uniform(0.9, 1.0) * 2 / extent
    camera = orbit(rng.uniform(0, 360), rng.uniform(*ELEVATION_DEG), rng.uniform(*DISTANCE))
    focal = focal_from_fov(rng.uniform(*FOV_DEG), size)
    view = renderer(toy, centre + shift, scale).render(camera, size, size, focal)
    background = np.ones(3) if rng.random() < 0.75 else rng.uniform(0.55, 1.0, 3)
    alpha = view.rgba[..., 3:]
    rgb = view.rgba[..., :3] * alpha + background * (1 - alpha)
    return np.round(rgb * 255).astype(np.uint8), view.depth.astype(np.float16)


def _chunk(job: tuple[Path, int, tuple[int, int], bool]) -> None:
    path, size, seed, held_out = job
    rng = np.random.default_rng(seed)
    toys, captions = [], []
    images, depth = np.empty((CHUNK, size, size, 3), np.uint8), np.empty((CHUNK, size, size), np.float16)
    for i in range(CHUNK):
        toy = random_toy(rng)
        while toy.held_out and not held_out:
            toy = random_toy(rng)
        images[i], depth[i] = picture(toy, rng, size)
        captions.append(_shorten(toy.caption, toy.colour, rng))
        toys.append(json.dumps(asdict(toy)))
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, images=images, depth=depth, captions=np.array(captions), toys=np.array(toys))


def _shorten(caption: str, colour: str, rng: np.random.Generator) -> str:
    """Shorten some captions, so that the networks learn "a mug" and "a mug with a blue hat" too."""
    if rng.random() < 0.05:
        caption = caption.split(" on ")[0].split(" with ")[0]
    if rng.random() < 0.06:
        words = caption.split(" ")
        words.remove(colour) if colour in words[:2] else None
        caption = " ".join(words)
    return caption
