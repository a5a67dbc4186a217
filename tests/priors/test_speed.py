"""Switches of `speed`: what they change is time and memory, not numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.recorder import Recorder
from helpers.tiny_prior import LORA, contexts, new_models

from piva.models.denoiser import Conditioning
from piva.models.needs import needs
from piva.optimise import Method, Work, optimise
from piva.priors.prior import Prior, load
from piva.priors.stable_diffusion import Speed
from piva.schedules.uniform import Uniform
from piva.scores.piva import Piva
from piva.tasks.base import Randomness

OFF = Speed(channels_last=False, tf32=False, compile="none", checkpointing=False)
PIVA = Piva(lam=0.4, guidance_scale=7.5, reference="edit", weight="uniform")


def edited(prior: Prior) -> torch.Tensor:
    """Theta after two steps of Piva: predictions, gradients and the models' updates all show in it."""
    denoiser = LORA.denoiser(prior)
    edit = Conditioning(contexts(prior), new_models(LORA, denoiser, needs(PIVA).learned))
    randomness = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    state = Recorder(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2)))
    work = Work(state, PIVA, edit, randomness)
    list(optimise([work], Method(Uniform(t_min=0.02, t_max=0.98), denoiser), 3))
    denoiser.detach()
    return state.theta.detach()


@pytest.mark.parametrize(
    "speed",
    [
        replace(OFF, channels_last=True),
        replace(OFF, checkpointing=True),
        pytest.param(replace(OFF, compile="regions"), marks=(pytest.mark.slow, pytest.mark.compiler)),
        pytest.param(replace(OFF, compile="full"), marks=(pytest.mark.slow, pytest.mark.compiler)),
    ],
    ids=["channels_last", "checkpointing", "regions", "full"],
)
def test_a_switch_changes_no_number(prior_folder: Path, speed: Speed) -> None:
    plain, fast = (load(str(prior_folder), "cpu", "float32") for _ in range(2))
    speed.apply(fast)
    torch.testing.assert_close(edited(fast), edited(plain), rtol=1e-3, atol=1e-4)


def test_checkpointing_keeps_fewer_activations(prior_folder: Path) -> None:
    kept = {}
    for checkpointing in (False, True):
        prior, sizes = load(str(prior_folder), "cpu", "float32"), []
        replace(OFF, checkpointing=checkpointing).apply(prior)

        def pack(x: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            edited(prior)
        kept[checkpointing] = sum(sizes)
    assert kept[True] < 0.7 * kept[False]


def test_blocks_of_one_shape_share_a_compiled_graph(prior: Prior) -> None:
    """Or each of Stable Diffusion's 16 blocks would be compiled anew, with and without gradients."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    prior.unet.compile_repeated_blocks(fullgraph=True, dynamic=False, backend="eager")
    edited(prior)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    blocks = sum(type(m).__name__ in prior.unet._repeated_blocks for m in prior.unet.modules())
    assert graphs < 2 * blocks - 1
