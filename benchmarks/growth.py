"""What an edit of the toys reaches under perfect guidance: `python -m benchmarks.growth [type=addition] [words of piva.run ...]`.

The main command's edit of a field (state, optimiser, occupancy, cameras, steps), but that the gradient is the difference to the
true edited object's picture from the same camera, in the place of a score's direction: what is missing here no score can reach.
"""

import sys
import time

import torch

from piva.cameras.lens import pinhole
from piva.cameras.poses import sample_camera
from piva.config import build, compose
from piva.datasets.edit import Edit
from piva.datasets.noe import Noe
from piva.metrics.pixels import psnr
from piva.noe.mesh import MeshRenderer
from piva.scores.terms import EDIT
from piva.tasks.base import Randomness
from piva.tasks.nerf import NerfTask
from piva.toys.edits import SPLITS
from piva.toys.noe import DISTANCE, FOV_DEG
from piva.toys.world import placement, renderer


class Pictures:
    """Stands in for a prior: its latents are the pictures themselves."""

    device = torch.device("cpu")
    multiple = 1

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures


def truth(edit: Edit) -> MeshRenderer:
    """The edited toy, where the benchmark's pictures show it."""
    toy, name = edit.id.split("/")
    case = next(case for cases in SPLITS.values() for case in cases if case.name == toy)
    change = next(change for change in case.changes if change.name == name)
    return renderer(
        change.target, *placement([case.source, *(c.target for c in case.changes)], DISTANCE, FOV_DEG)
    )


def growth(edit: Edit, task: NerfTask, size: int, steps: int) -> tuple[float, float, float, float]:
    """PSNR to the truth at the test cameras before and after, a step's CPU time in ms, and the share of cells marched through."""
    randomness, cameras = (
        Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)) for _ in range(2)
    )
    state = task.open(edit, Pictures(), size, steps, randomness)  # type: ignore[arg-type]
    mesh, white, seconds, before = truth(edit), torch.ones(3, 1, 1), 0.0, state.compare()
    for _ in range(steps):
        begin = time.process_time()
        shown = state.view(randomness, original=False).latents[EDIT]
        seconds += time.process_time() - begin
        c2w, fov = sample_camera(
            cameras.host, *(tuple(r) for r in (task.elevation_deg, task.fov_deg, task.distance))
        )
        lens = pinhole(fov, size)
        rgba = torch.from_numpy(mesh.render_lens(c2w, lens).rgba).permute(2, 0, 1)
        wanted = rgba[:3] * rgba[3:] + (1 - rgba[3:]) * white
        begin = time.process_time()
        shown.backward(shown.detach() - wanted)
        state.step()
        seconds += time.process_time() - begin
    after = state.compare()
    assert before.truth is not None
    shown_then = [c.truth_after for c in (before, after) if c.truth_after is not None]
    reached = [float(psnr(pictures, before.truth).mean()) for pictures in shown_then]
    return (
        reached[0],
        reached[1],
        1000 * seconds / steps,
        float(state._edited.occupancy.occupied.float().mean()),
    )


def main(*words: str) -> None:
    kind = next((word.removeprefix("type=") for word in words if word.startswith("type=")), "")
    words = ("dataset.edits=all", *(word for word in words if not word.startswith("type=")))
    cfg = compose("task=nerf", "dataset=noe", *words)
    task: NerfTask = build(NerfTask, cfg.task, "task")
    dataset: Noe = build(Noe, cfg.dataset, "dataset")
    rows: dict[str, list[float]] = {}
    for edit in dataset.read():
        if kind in edit.type:
            before, after, ms, share = growth(edit, task, cfg.resolution or 64, cfg.steps)
            rows.setdefault(edit.type, []).append(after)
            print(
                f"{edit.id}: {before:.1f} -> {after:.1f} dB, {ms:.0f} ms of CPU time a step, {share:.3f} of the cells",
                flush=True,
            )
    for each, values in rows.items():
        print(f"{each}: {sum(values) / len(values):.2f} dB, least {min(values):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
