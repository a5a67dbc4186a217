"""Draw the pictures of the documentation:

python docs/draw_pictures.py [method|models|fields|metrics|relevance|captures|steps|memory]...

writes docs/pictures/<name>.png from the toys, in minutes (fields: three fits, unless they are in the
cache); memory from the table of its page.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from piva import run
from piva.config import Settings, check, compose
from piva.datasets.scene import read_views
from piva.experiment.edit import Progress, seeded
from piva.metrics.comparison import beside
from piva.models.controlled import depth_hint
from piva.models.denoiser import Conditioning, Denoiser
from piva.scores.terms import EDIT, ORIGINAL, Prompt
from piva.tasks.base import Randomness
from piva.tasks.image import read_pictures, resize

PICTURES = Path(__file__).parent / "pictures"
GUIDANCE = 2  # of the target prompt, in the picture of the method
COMMON = ["dataset=noe", "profile=cpu", "edits=[car/hat]"]


def method() -> list[np.ndarray]:
    """Draw one step of DDS: what the prior makes of one noised picture when it is told either prompt."""
    settings = settings_of("task=image", "score=dds")
    prior, edit = settings.prior.load("cpu"), settings.edits[0]
    assert edit.image
    size = (prior.resolution, prior.resolution)
    x = prior.encode(resize(read_pictures([edit.image]).contiguous(), size))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    rows = []
    for part in (0.85, 0.6):
        t = int(part * len(prior.schedule))
        noisy = prior.schedule.noised(x, noise, t)
        context = torch.cat([prior.text(prompt) for prompt in ("", *edit.prompts)])
        plain, source, target = prior.predict(
            noisy.expand(3, -1, -1, -1), prior.timestep(t).expand(3), context
        ).split(1)
        told = plain + GUIDANCE * (target - plain)
        pictures = [prior.schedule.denoised(noisy, eps, t) for eps in (source, told)]
        step = (told - source).square().sum(1, keepdim=True).sqrt()
        shown = [x, noisy * prior.schedule.alpha(t), *pictures]
        heat = torch.nn.functional.interpolate(step / step.max(), x.shape[-1] * prior.factor)
        labels = ["original", f"noised, t = {part:g}", *(f'"{prompt}"' for prompt in edit.prompts)]
        decoded = [prior.decode(each)[0].clamp(0, 1) for each in shown]
        rows.append(beside([*decoded, 1 - heat[0].expand(3, -1, -1)], [*labels, "|difference|"]))
    return rows


def models() -> list[np.ndarray]:
    """Draw what a ControlNet is given: views of a scene and their inverse depth."""
    settings = settings_of("task=nerf", "task.views=3", "task.carve=0", "task.pastel=0")
    edit, prior = settings.edits[0], settings.prior.load("cpu")
    draws = Randomness(*(seeded(3, edit.id, "task", "cpu") for _ in range(2)))
    state = settings.task.open(edit, prior, prior.resolution, 1, draws)
    with torch.no_grad():
        view = state.view(draws, original=False, depth=True)
        pictures = prior.decode(view.latents[EDIT]).clamp(0, 1)
    hints = depth_hint(view.depth[EDIT]).expand(-1, 3, -1, -1)
    pairs = [each for pair in zip(pictures, hints, strict=True) for each in pair]
    return [beside(pairs, ["a view", "its depth"] * 3)]


def fields() -> list[np.ndarray]:
    """Draw a held-out view of one toy as each kind of field has learned it."""
    shown: list[Tensor] = []
    labels = ["a photograph, held out"]
    for kind in ("voxels", "hash", "splats"):
        settings = settings_of("task=nerf", f"field={kind}", "score=dds")
        edit, prior = settings.edits[0], settings.prior.load("cpu")
        draws = Randomness(*(seeded(0, edit.id, "task", "cpu") for _ in range(2)))
        state = settings.task.open(edit, prior, prior.resolution, 1, draws)
        assert edit.scene
        views = read_views(edit.scene, edit.capture, prior.resolution)
        rgba = torch.from_numpy(views.images[views.test]).permute(0, 3, 1, 2) / 255
        true = torch.lerp(torch.ones(()), rgba[:, :3], rgba[:, 3:])
        fit = state.compare().truth_before
        error = (true - fit).square().mean(dim=(1, 2, 3))
        labels.append(f"{kind}, {float((-10 * error.log10()).mean()):.1f} dB")
        shown += [true[1], fit[1]] if not shown else [fit[1]]
    return [beside(shown, labels)]


def metrics() -> list[np.ndarray]:
    """Draw which parts of a picture the metrics with a mask look at."""
    settings = settings_of("task=image", "score=dds")
    edit, prior = settings.edits[0], settings.prior.load("cpu")
    draws = Randomness(*(seeded(0, edit.id, "task", "cpu") for _ in range(2)))
    known = settings.task.open(edit, prior, prior.resolution, 1, draws).compare()
    assert known.truth is not None
    assert known.truth_mask is not None
    with TemporaryDirectory() as folder:
        run(compose(*COMMON, "task=image", "score=dds", "metrics=pixels", f"hydra.run.dir={folder}"))
        after = read_pictures([Path(folder) / "edits" / edit.id / "after.png"])
        after = resize(after, known.before.shape[-2:])
    before, mask = known.before, known.truth_mask.expand(-1, 3, -1, -1)
    outside = 1 - (4 * (1 - mask) * (after - before).abs()).clamp(0, 1)
    pictures = [before, after, known.truth, mask, outside]
    labels = ["original", "edit", "truth", "mask", "changed outside it, x 4"]
    return [beside([picture[0] for picture in pictures], labels)]


def relevance() -> list[np.ndarray]:
    """Draw where two prompts disagree, and edits by DDS that act everywhere and there alone."""
    rows = []
    for name in ("mug/blue", "car/hat", "table/ball"):
        words = [*COMMON[:-1], "task=image", "score=dds", "metrics=pixels", f"edits=[{name}]"]
        settings = settings_of(*words)
        edit, prior = settings.edits[0], settings.prior.load("cpu")
        draws = Randomness(*(seeded(0, edit.id, "task", "cpu") for _ in range(2)))
        state = settings.task.open(edit, prior, prior.resolution, 1, draws)
        pair = dict(zip((Prompt.SOURCE, Prompt.TARGET), map(prior.text, edit.prompts), strict=True))
        original = state.view(draws, original=True).latents[ORIGINAL]
        noise = seeded(0, edit.id, "relevance", "cpu")  # the run's own
        found = settings.run.relevance.weights(Denoiser(prior), Conditioning(pair), original, noise)
        seen = torch.nn.functional.interpolate(found, scale_factor=prior.factor)[0].expand(3, -1, -1)
        shown = {"an original": state.compare().before[0], "where its prompts disagree": seen}
        with TemporaryDirectory() as folder:
            for label, noises in (("everywhere", 0), ("there alone", settings.run.relevance.noises)):
                place = Path(folder) / label
                run(compose(*words, f"relevance.noises={noises}", f"hydra.run.dir={place}"))
                shown[f"edited {label}"] = read_pictures([place / "edits" / name / "after.png"])[0]
                shown["truth"] = read_pictures([place / "edits" / name / "truth.png"])[0]
        shown["truth"] = shown.pop("truth")  # the last
        size = shown["truth"].shape[-2:]
        rows.append(beside([resize(each[None], size)[0] for each in shown.values()], [*shown]))
    return rows


def captures() -> list[np.ndarray]:
    """Draw edits of rooms, captured through a distorting lens, from a test camera."""
    rows = []
    with TemporaryDirectory() as folder:
        ids = ("snowman/purple", "snowman/hat", "lamp/mushroom")
        words = ["score=dds", "metrics=pixels", f"edits=[{','.join(ids)}]", f"hydra.run.dir={folder}"]
        run(compose("task=nerf", "dataset=in2n", "profile=cpu", *words))
        for edit in ids:
            place = Path(folder) / "edits" / edit
            shown = [read_pictures([place / f"{name}.png"])[0] for name in ("before", "after", "truth")]
            rows.append(beside(shown, ["original", f'"{edit}"', "truth"]))
    return rows


def steps() -> list[np.ndarray]:
    """Draw a picture after some of its steps, as `callback` and the viewer see it."""
    seen: list[tuple[int, Tensor]] = []

    def look(progress: Progress) -> None:
        if progress.step in (2, 5, 10, 20, 30):
            seen.append((progress.step, progress.picture().clamp(0, 1)))

    with TemporaryDirectory() as folder:
        words = ["task=image", "score=dds", "metrics=pixels", f"hydra.run.dir={folder}"]
        run(compose(*COMMON, *words), callback=look)
        before = read_pictures([Path(folder) / "edits/car/hat/before.png"])
    before = resize(before, seen[0][1].shape[-2:])[0]
    return [beside([before, *(x for _, x in seen)], ["original", *(f"after {i} steps" for i, _ in seen)])]


def memory() -> list[np.ndarray]:
    """Draw the table of gigabytes of docs/stable_diffusion.md as bars."""
    import matplotlib.pyplot as plt

    page = (Path(__file__).parent / "stable_diffusion.md").read_text().split("| at 512x512, float16 |")[1]
    header, _, *lines = page.split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    names = [row[0].replace("`", "") for row in cells]
    parts = [cell.strip() for cell in header.strip("|").split("|")][:-1]
    numbers = np.array([[float(cell) for cell in row[1:-1]] for row in cells])
    whole = np.array([float(row[-1]) for row in cells])
    numbers = np.column_stack([numbers, whole - numbers.sum(axis=1)])
    figure, axes = plt.subplots(figsize=(8, 3), dpi=100, layout="constrained")
    left = np.zeros(len(names))
    for part, width in zip([*parts, "work and CUDA"], numbers.T, strict=True):
        axes.barh(names, width, left=left, label=part)
        left += width
    for limit in (8, 12, 24):
        axes.axvline(limit, color="0.6", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("GB; lines at 8, 12 and 24")
    axes.legend(frameon=False)
    figure.canvas.draw()
    return [np.asarray(figure.canvas.buffer_rgba())[..., :3]]  # type: ignore[attr-defined]


def settings_of(*overrides: str) -> Settings:
    return check(compose(*COMMON, *overrides))


def main(*names: str) -> None:
    drawings = {
        each.__name__: each for each in (method, models, fields, metrics, relevance, captures, steps, memory)
    }
    for name in names or drawings:
        rows = drawings[name]()
        Image.fromarray(np.concatenate(rows)).quantize(128).save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
