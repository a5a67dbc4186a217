"""The training loop of the toys' networks: averaged weights, a cosine with warm-up, resumable checkpoints."""

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from piva.files import atomic

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Say how long and how fast to train."""

    steps: int
    lr: float
    hold: float  # the share of the steps at the full rate; then half a cosine down to zero
    ema: Sequence[float]  # decays of the averaged weights
    weight_decay: float = 0.0
    warm: int = 100  # rising steps
    bfloat16: bool = False  # autocast, for GPUs; averages and optimiser stay in float32
    graph: bool = False  # each step as one CUDA graph: a loss that is the same computation at each step
    check_every: int = 200


def train(
    name: str,
    model: M,
    loss_of: Callable[[M, int, torch.Generator], Tensor],
    check: Callable[[M], dict[str, float]],
    recipe: Recipe,
    checkpoint: Path,
    seed: int,
) -> M:
    """Train the parameters of `model` that require gradients by AdamW; return their best moving average.

    Args:
        name: what the progress bar says.
        model: changed in place, on its device.
        loss_of: the loss of the model at a step, with every draw from the generator, which lives on the
            model's device.
        check: figures of an averaged model on held-out data, logged every `recipe.check_every` steps; the
            average with the least `error` is returned.
        checkpoint: written at each check and read at the start, so that an interrupted run goes on; the
            figures go to a .jsonl beside it.
        seed: of the generator.
    """
    parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    generator = torch.Generator(device).manual_seed(seed)
    averages = {decay: copy.deepcopy(model).eval() for decay in recipe.ema}
    followers: dict[float, list[Tensor]] = {
        decay: [p for p in each.parameters() if p.requires_grad] for decay, each in averages.items()
    }
    optimiser = torch.optim.AdamW(
        parameters,
        lr=torch.zeros((), device=device) if recipe.graph else recipe.lr,
        betas=(0.9, 0.99),
        weight_decay=recipe.weight_decay,
        fused=recipe.graph,
        capturable=recipe.graph,
    )
    parts: dict[str, Any] = {"model": model, "optimiser": optimiser}
    parts |= {f"average {decay}": average for decay, average in averages.items()}
    start = _resume(checkpoint, parts, generator) if checkpoint.exists() else 0

    def work(step: int) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16, cache_enabled=False):
            loss = loss_of(model, step, generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()

    take = _captured(work, start, generator) if recipe.graph else work
    bar = tqdm(range(start, recipe.steps), desc=name, unit="step", initial=start, total=recipe.steps)
    for step in bar:
        rate = recipe.lr * warm_cosine(step, recipe)
        if recipe.graph:
            optimiser.param_groups[0]["lr"].fill_(rate)
        else:
            optimiser.param_groups[0]["lr"] = rate
        take(step)
        with torch.no_grad():
            for decay, follower in followers.items():
                torch._foreach_lerp_(follower, parameters, 1 - min(decay, (1 + step) / (10 + step)))
        if (step + 1) % recipe.check_every == 0 or step + 1 == recipe.steps:
            with torch.no_grad():
                checked = {decay: check(average) for decay, average in averages.items()}
            rounded = {d: {k: float(f"{v:.4g}") for k, v in found.items()} for d, found in checked.items()}
            figures = {f"{k}_{d}": v for d, found in rounded.items() for k, v in found.items()}
            bar.set_postfix(figures)
            with checkpoint.with_suffix(".jsonl").open("a") as log:
                log.write(json.dumps({"step": step + 1, **figures}) + "\n")
            _save(checkpoint, parts, generator, step + 1)
    with torch.no_grad():
        return min(averages.values(), key=lambda average: check(average)["error"])


def _captured(work: Callable[[int], None], step: int, generator: torch.Generator) -> Callable[[int], None]:
    """Return `work` as a CUDA graph, after three steps at rate 0: Adam's states, once made, stay in place."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work(step)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        work(step)
    return lambda _: graph.replay()


def _resume(checkpoint: Path, parts: Mapping[str, Any], generator: torch.Generator) -> int:
    """Restore all that training depends on and return the steps done."""
    state = torch.load(checkpoint, weights_only=True)
    for key, part in parts.items():
        part.load_state_dict(state[key])
    generator.set_state(state["generator"])
    return int(state["step"])


def _save(checkpoint: Path, parts: Mapping[str, Any], generator: torch.Generator, step: int) -> None:
    state = {key: part.state_dict() for key, part in parts.items()}
    with atomic(checkpoint) as temporary:
        torch.save(state | {"generator": generator.get_state(), "step": step}, temporary)


def warm_cosine(step: int, recipe: Recipe) -> float:
    """Return the learning-rate factor at a step: rising, constant, falling."""
    falling = max(0.0, (step / recipe.steps - recipe.hold) / (1 - recipe.hold))
    return min(1.0, (step + 1) / recipe.warm) * 0.5 * (1 + math.cos(math.pi * falling))
