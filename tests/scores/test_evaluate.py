"""The evaluator: the right numbers, in as few network evaluations as the algebra allows."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from piva.models.adapters import Adapters
from piva.models.lora import Lora
from piva.priors.prior import Evaluations, Prior
from piva.scores.csd import CSD
from piva.scores.dds import DDS
from piva.scores.evaluate import Evaluated, evaluate
from piva.scores.needs import learned_networks, uses_original
from piva.scores.piva import Piva
from piva.scores.sds import SDS
from piva.scores.terms import Latents, Network, Prompt, Score
from piva.scores.vsd import VSD
from piva.tasks.base import View

T = 400
LORA = Lora(rank=2, alpha=2, lr=1e-3)
COSTS = [  # score, forward, backward, calls: the cost model of the whole program
    (SDS(guidance_scale=7.5, weight="uniform"), 2, 0, 1),
    (CSD(guidance_scale=7.5, weight="uniform"), 2, 0, 1),
    (DDS(guidance_scale=7.5, reference="edit", weight="uniform"), 2, 0, 1),
    (DDS(guidance_scale=7.5, reference="original", weight="uniform"), 4, 0, 1),
    (VSD(guidance_scale=7.5, weight="uniform"), 3, 1, 2),
    (Piva(lam=0.4, guidance_scale=7.5, reference="edit", weight="uniform"), 5, 2, 2),
    (Piva(lam=0.4, guidance_scale=7.5, reference="original", weight="uniform"), 7, 2, 2),
    (Piva(lam=0.0, guidance_scale=7.5, reference="edit", weight="uniform"), 2, 0, 1),
]


class Step:
    """A step's inputs, and its evaluation with or without trained adapters."""

    def __init__(self, prior: Prior, score: Score, generator: torch.Generator, batch: int = 1) -> None:
        self.prior, self.score = prior, score
        draw = lambda: torch.randn(batch, 4, 8, 8, generator=generator)  # noqa: E731
        self.noise, self.clean = draw(), {Latents.EDIT: draw(), Latents.ORIGINAL: draw()}
        self.contexts = {p: prior.text(text) for p, text in zip(Prompt, ("a cat", "a dog", ""), strict=True)}
        self.learned = learned_networks(score, prior.schedule)
        self.adapters = attach(prior, self.learned) if self.learned else None

    def evaluate(self) -> Evaluated:
        terms = self.score.direction(self.prior.schedule, T)
        return evaluate(
            terms,
            T,
            self.noise,
            View(latents=self.clean),
            self.contexts,
            self.prior,
            self.adapters,
            self.learned,
        )


def attach(prior: Prior, learned: list[Network]) -> Adapters:
    """Adapters that already do something: their output matrices start at zero, which would hide a mix-up."""
    adapters = LORA.attach(prior, learned, torch.Generator().manual_seed(1))
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in prior.unet.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=noise))
    return adapters


@pytest.mark.parametrize(
    ("score", "forward", "backward", "calls"),
    COSTS,
    ids=lambda v: type(v).__name__ if hasattr(v, "weight") else v,
)
def test_network_evaluations_of_a_step(
    prior: Prior, generator: torch.Generator, score: Score, forward: int, backward: int, calls: int
) -> None:
    step = Step(prior, score, generator)
    before = replace(prior.evaluations)
    result = step.evaluate()
    if step.adapters:
        step.adapters.learn(torch.stack(list(result.losses.values())).sum())
    after = prior.evaluations
    spent = Evaluations(
        after.forward - before.forward, after.backward - before.backward, after.calls - before.calls
    )
    assert spent == Evaluations(forward, backward, calls)


@pytest.mark.parametrize(
    "score", [cost[0] for cost in COSTS], ids=[f"{i}-{type(c[0]).__name__}" for i, c in enumerate(COSTS)]
)
def test_the_batched_direction_equals_one_network_call_a_term(
    prior: Prior, generator: torch.Generator, score: Score
) -> None:
    step = Step(prior, score, generator, batch=2)
    noisy = {which: prior.schedule.noised(x, step.noise, T) for which, x in step.clean.items()}
    known = {"noise": step.noise, "edit": step.clean[Latents.EDIT], "original": step.clean[Latents.ORIGINAL]}
    expected = torch.zeros_like(step.noise, dtype=torch.float64)
    terms = score.direction(prior.schedule, T)
    for term, weight in terms.weights.items():
        value = (
            known[term.what]
            if hasattr(term, "what")
            else predict_alone(step, term.network, noisy[term.latents], term.prompt)
        )
        expected += weight * value.double()
    torch.testing.assert_close(step.evaluate().direction.double(), expected, rtol=1e-4, atol=1e-4)


def predict_alone(step: Step, network: Network, noisy: Tensor, prompt: Prompt) -> Tensor:
    """One term by peft's own adapter switching, without our batching."""
    unet = step.prior.unet
    layers = [m for m in unet.modules() if hasattr(m, "lora_A")]
    patched = [layer.__dict__.pop("forward") for layer in layers]
    for layer in layers:
        layer.enable_adapters(network is not Network.FROZEN)
        layer.set_adapter(network.value) if network is not Network.FROZEN else None
    with torch.no_grad():
        out = step.prior.predict(noisy, T, step.contexts[prompt].expand(len(noisy), -1, -1))
    for layer, forward in zip(layers, patched, strict=True):
        layer.forward = forward
    for name, weight in unet.named_parameters():  # set_adapter freezes the others
        weight.requires_grad_("lora_" in name)
    return out


def test_each_models_loss_is_on_its_own_latents_and_prompt(prior: Prior, generator: torch.Generator) -> None:
    step = Step(prior, Piva(lam=0.4, guidance_scale=7.5, reference="edit", weight="uniform"), generator)
    noisy = {which: prior.schedule.noised(x, step.noise, T) for which, x in step.clean.items()}
    losses = step.evaluate().losses
    on_original = predict_alone(step, Network.SOURCE, noisy[Latents.ORIGINAL], Prompt.SOURCE)
    on_edit = predict_alone(step, Network.TARGET, noisy[Latents.EDIT], Prompt.TARGET)
    assert losses[Network.SOURCE].item() == pytest.approx(
        float((on_original - step.noise).square().mean()), rel=1e-4
    )
    assert losses[Network.TARGET].item() == pytest.approx(
        float((on_edit - step.noise).square().mean()), rel=1e-4
    )


def test_what_a_score_needs_is_read_off_its_terms(prior: Prior) -> None:
    schedule = prior.schedule
    assert learned_networks(VSD(guidance_scale=1.0, weight="uniform"), schedule) == [Network.TARGET]
    assert (
        learned_networks(Piva(lam=0.1, guidance_scale=1.0, reference="edit", weight="uniform"), schedule)
        == list(Network)[1:]
    )
    assert (
        learned_networks(Piva(lam=0.0, guidance_scale=1.0, reference="edit", weight="uniform"), schedule)
        == []
    )
    assert not uses_original(SDS(guidance_scale=1.0, weight="uniform"), schedule)
    assert uses_original(
        Piva(lam=0.1, guidance_scale=1.0, reference="edit", weight="uniform"), schedule
    )  # psi follows it
