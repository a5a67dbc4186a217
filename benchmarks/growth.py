"""PSNR of an edit under perfect guidance: `python -m benchmarks.growth [type=addition] [OVERRIDE ...]`.

The main command's edit of a field (state, optimiser, occupancy, cameras, steps), with the difference to the
true edited object's picture from the same camera as gradient instead of a score's direction: an upper bound
for scores.
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
    """Stand in for a prior whose latents are the pictures themselves."""

    device = torch.device("cpu")
    multiple = 1

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures


def truth(edit: Edit) -> MeshRenderer:
    """Return the edited toy, placed as in the benchmark's pictures."""
    toy, name = edit.id.split("/")
    case = next(case for cases in SPLITS.values() for case in cases if case.name == toy)
    change = next(change for change in case.changes if change.name == name)
    toys = [case.source, *(c.target for c in case.changes)]
    return renderer(change.target, *placement(toys, DISTANCE, FOV_DEG))


def growth(edit: Edit, task: NerfTask, size: int, steps: int) -> tuple[float, float, float, float]:
    """Return PSNR to the truth before and after, milliseconds of CPU time a step, share of occupied cells."""
    randomness, cameras = (
        Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)) for _ in range(2)
    )
    state = task.open(edit, Pictures(), size, steps, randomness)  # type: ignore[arg-type]
    mesh, white, seconds, before = truth(edit), torch.ones(3, 1, 1), 0.0, state.compare()
    for _ in range(steps):
        begin = time.process_time()
        shown = state.view(randomness, original=False).latents[EDIT]
        seconds += time.process_time() - begin
        ranges = map(tuple, (task.elevation_deg, task.fov_deg, task.distance))
        c2w, fov = sample_camera(cameras.host, *ranges)
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
    occupied = float(state._edited.occupancy.occupied.float().mean())
    return reached[0], reached[1], 1000 * seconds / steps, occupied


def main(*argv: str) -> None:
    kind = next((arg.removeprefix("type=") for arg in argv if arg.startswith("type=")), "")
    overrides = (arg for arg in argv if not arg.startswith("type="))
    cfg = compose("task=nerf", "dataset=noe", "dataset.edits=all", *overrides)
    task: NerfTask = build(NerfTask, cfg.task, "task")
    dataset: Noe = build(Noe, cfg.dataset, "dataset")
    rows: dict[str, list[float]] = {}
    for edit in dataset.read():
        if kind in edit.type:
            before, after, ms, share = growth(edit, task, cfg.resolution or 64, cfg.steps)
            rows.setdefault(edit.type, []).append(after)
            cost = f"{ms:.0f} ms of CPU time a step, {share:.3f} of the cells"
            print(f"{edit.id}: {before:.1f} -> {after:.1f} dB, {cost}", flush=True)
    for each, values in rows.items():
        print(f"{each}: {sum(values) / len(values):.2f} dB, least {min(values):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
