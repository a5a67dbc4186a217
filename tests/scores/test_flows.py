"""Scores that come from flows or from other timesteps, each against its published update in float64.

There z_t = (1 - t) z + t eps with velocities v = eps - z, so that x_t = (alpha + sigma) z_t at t = sigma /
(alpha + sigma); the network is arbitrary.
"""

import pytest
import torch
from torch import Tensor

from piva.priors.schedule import Schedule
from piva.scores.asd import ASD
from piva.scores.chordedit import ChordEdit
from piva.scores.dds import DDS
from piva.scores.dvrf import DVRF
from piva.scores.flowalign import FlowAlign
from piva.scores.terms import EDIT, ORIGINAL, Noised, Prediction, Sum

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ABAR = torch.cumprod(1 - BETAS, dim=0)
SCHEDULE = Schedule(tuple(ABAR.tolist()))
TIMESTEPS = [20, 300, 700, 979]


class World:
    """An edit, an original, noise, and a network of x_t and t for each prompt."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x, self.xhat, self.noise = (
            torch.randn(1, 4, 3, 3, generator=generator, dtype=torch.float64) for _ in range(3)
        )
        self._mix = torch.randn(3, 4, 4, generator=generator, dtype=torch.float64)

    def eps(self, x_t: Tensor, t: int, prompt: str) -> Tensor:
        mix = self._mix[["target", "source", "null"].index(prompt)]
        return (torch.einsum("ij,bjyx->biyx", mix, x_t) + t / 1000).tanh()

    def guided(self, x_t: Tensor, t: int, prompt: str, scale: float) -> Tensor:
        null = self.eps(x_t, t, "null")
        return null + scale * (self.eps(x_t, t, prompt) - null)

    def velocity(self, z_t: Tensor, t: int, prompt: str, scale: float = 1.0) -> Tensor:
        eps = self.guided((alpha(t) + sigma(t)) * z_t, t, prompt, scale)
        return eps - (z_t - time(t) * eps) / (1 - time(t))

    def noised(self, x: Tensor, t: int) -> Tensor:
        return alpha(t) * x + sigma(t) * self.noise

    def value(self, terms: Sum, t: int) -> Tensor:
        """The sum, term by term."""
        total = torch.zeros_like(self.x)
        tensors = {"noise": self.noise, "edit": self.x, "original": self.xhat}
        for term, weight in terms.weights.items():
            if not isinstance(term, Prediction):
                total += weight * tensors[term.name]
                continue
            seen = term.latents if isinstance(term.latents, Noised) else Noised(term.latents)
            at = t if seen.t is None else seen.t
            x_t = self.noised({EDIT: self.x, ORIGINAL: self.xhat}[seen.of], at)
            total += weight * self.eps(x_t + seen.shift * (self.x - self.xhat), at, term.prompt.value)
        return total


def alpha(t: int) -> Tensor:
    return ABAR[t].sqrt()


def sigma(t: int) -> Tensor:
    return (1 - ABAR[t]).sqrt()


def time(t: int) -> Tensor:
    return sigma(t) / (alpha(t) + sigma(t))


@pytest.mark.parametrize(("t", "following"), [(979, 900), (700, 300), (300, 20)])
def test_a_descending_step_of_flow_align_is_the_published_one(t: int, following: int) -> None:
    """Whose own x - xhat is 1 - t times ours; its pull of 0.01 is for its own length of a step."""
    w, keep = World(), 0.33
    z = w.xhat + (1 - time(t)) * (w.x - w.xhat)
    noisy = (1 - time(t)) * w.xhat + time(t) * w.noise
    moved = z + noisy - w.xhat
    by_source = w.velocity(moved, t, "source")
    v = by_source + 13.5 * (w.velocity(moved, t, "target") - by_source)
    v_source = w.velocity(noisy, t, "source")
    step = time(following) - time(t)
    pull = (noisy - time(t) * v_source) - (moved - time(t) * v)
    z = z + step * (v - v_source) + keep * -step * pull
    expected = w.xhat + (z - w.xhat) / (1 - time(following))

    score = FlowAlign(guidance_scale=13.5, keep=keep, weight="uniform")
    length = sigma(t) / alpha(t) - sigma(following) / alpha(following)
    ours = w.x - length * w.value(score.direction(SCHEDULE, t, 0.5), t)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("t", TIMESTEPS)
@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_dvrf_is_the_published_gradient(t: int, progress: float) -> None:
    w, eta = World(), 0.8 * progress
    change = w.x - w.xhat
    noisy, noisy_source = ((1 - time(t)) * x + time(t) * w.noise for x in (w.x, w.xhat))
    v = w.velocity(noisy + eta * time(t) * change, t, "target", 16.5)
    expected = v - w.velocity(noisy_source, t, "source", 6.0) + (1 - eta) * change
    score = DVRF(guidance_scale=16.5, guidance_source=6.0, eta=0.8, weight="uniform")
    ours = w.value(score.direction(SCHEDULE, t, progress), t)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_dvrf_begins_as_dds_in_other_lengths() -> None:
    w, dds = World(), DDS(guidance_scale=3.0, guidance_source=1.0, reference="original", weight="uniform")
    score = DVRF(guidance_scale=3.0, guidance_source=1.0, eta=1.0, weight="uniform")
    ours, theirs = (w.value(each.direction(SCHEDULE, 700, 0.0), 700) for each in (score, dds))
    torch.testing.assert_close(ours, (1 + sigma(700) / alpha(700)) * theirs)


@pytest.mark.parametrize(("t", "later"), [(10, 10), (29, 29), (30, 31), (300, 328), (979, 999)])
def test_asd_subtracts_what_a_later_timestep_predicts(t: int, later: int) -> None:
    """t' = t + the whole part of 0.1 (t - 20), at most 999."""
    w, score = World(), ASD(guidance_scale=7.5, plus=0.1, t_min=0.02, weight="sigma_squared")
    expected = w.guided(w.noised(w.x, t), t, "target", 7.5) - w.eps(w.noised(w.x, later), later, "target")
    torch.testing.assert_close(w.value(score.direction(SCHEDULE, t, 0.0), t), expected)


def test_chord_edit_goes_one_long_way_and_denoises_at_last() -> None:
    w, score = World(), ChordEdit(t=0.9, d=0.15, t_clean=0.3, weight="uniform")

    def predicted(x: Tensor, t: int, prompt: str) -> Tensor:
        x_t = w.noised(x, t)
        return (x_t - sigma(t) * w.eps(x_t, t, prompt)) / alpha(t)

    late, early = (predicted(w.xhat, t, "target") - predicted(w.xhat, t, "source") for t in (900, 750))
    moved = w.x - w.value(score.direction(SCHEDULE, 20, 0.0), 20)
    torch.testing.assert_close(moved, w.x + (0.15 * late + 0.9 * early) / 1.05)
    cleaned = w.x - w.value(score.direction(SCHEDULE, 20, 1.0), 20)
    torch.testing.assert_close(cleaned, predicted(w.x, 300, "target"))
