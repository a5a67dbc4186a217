"""The noise predictions of one or of several edits: all rows of a step in one call of the networks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor

from piva.models.adapters import LowRank
from piva.models.controlled import DepthControl
from piva.models.learned import LearnedModels
from piva.priors.prior import Prior
from piva.scores.terms import Latents, Network, Noised, Prediction, Prompt


@dataclass
class NetworkEvaluations:
    """Network evaluations of an edit so far: rows through the U-Net and a ControlNet, and U-Net calls."""

    forward: float = 0  # whole numbers, but for an edit's part of what several share
    backward: float = 0
    calls: float = 0
    control_forward: float = 0
    control_backward: float = 0


@dataclass(frozen=True)
class Conditioning:
    """What the networks know of one edit: its prompts' contexts (1, n, d), and its learned models if any."""

    contexts: Mapping[Prompt, Tensor]
    models: LearnedModels | None = None
    evaluations: NetworkEvaluations = field(default_factory=NetworkEvaluations)
    tokens: Mapping[Prompt, Tensor] = field(default_factory=dict)  # (1, n), of which the contexts are

    def adapter(self, network: Network) -> Tensor | None:
        """Return the adapter of a learned model, None for the frozen one."""
        if network is Network.FROZEN:
            return None
        assert self.models is not None
        return self.models.weights[network]


@dataclass(frozen=True)
class Query:
    """Predictions for one edit at one timestep, but for latents that are noised otherwise.

    `noisy` (b, c, y, x) and `depth` (b, h, w) are of the edit's and the original's views.
    """

    edit: Conditioning
    predictions: Sequence[Prediction]
    noisy: Mapping[Latents | Noised, Tensor]
    t: int
    depth: Mapping[Latents, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Rows:
    """As many rows of a batch as an edit has views: one prediction of one query."""

    query: Query
    prediction: Prediction

    @property
    def noisy(self) -> Tensor:
        return self.query.noisy[self.prediction.latents]

    @property
    def t(self) -> int:
        seen = self.prediction.latents
        return seen.t if isinstance(seen, Noised) and seen.t is not None else self.query.t

    @property
    def learned(self) -> bool:
        return self.prediction.network is not Network.FROZEN


@dataclass(frozen=True)
class Denoiser:
    """The prior's U-Net, with room for adapters and a ControlNet beside it where models are learned."""

    prior: Prior
    low_rank: LowRank | None = None
    control: DepthControl | None = None

    def predict(self, queries: Sequence[Query]) -> list[dict[Prediction, Float[Tensor, "b c y x"]]]:
        """Return each query's noise predictions, float32, in one call of the U-Net for each size of latents.

        Those of learned models have gradients to their adapters where those are enabled.
        """
        answers: list[dict[Prediction, Tensor]] = [{} for _ in queries]
        place = {id(query): answer for query, answer in zip(queries, answers, strict=True)}
        rows = [_Rows(query, prediction) for query in queries for prediction in query.predictions]
        for _, group in groupby(sorted(rows, key=_size), _size):
            # the learned models first: what a ControlNet adds ends where the frozen network's rows begin
            batch = sorted(group, key=lambda each: not each.learned)
            eps = self._call(batch).split([len(each.noisy) for each in batch])
            for each, predicted in zip(batch, eps, strict=True):
                place[id(each.query)][each.prediction] = predicted
        return answers

    def _call(self, batch: Sequence[_Rows]) -> Tensor:
        """Return the predictions of rows whose latents have one size."""
        noisy = torch.cat([each.noisy for each in batch])
        context = torch.cat([
            each.query.edit.contexts[each.prediction.prompt].expand(len(each.noisy), -1, -1) for each in batch
        ])  # fmt: skip
        t = torch.cat([self.prior.timestep(each.t).expand(len(each.noisy)) for each in batch])
        residuals = None
        learned = [each for each in batch if each.learned]
        if self.control and learned:
            count = sum(len(each.noisy) for each in learned)
            self._select("controlnet", learned)
            asked = [(each.prediction, each.query.depth) for each in learned]
            inputs = noisy[:count], t[:count], context[:count]
            residuals = self.control.residuals(self.prior, asked, *inputs, rows=len(noisy))
            _count(learned, "control_forward")
            if residuals[1].requires_grad:
                residuals[1].register_hook(_counting(learned, "control_backward"))
        self._select(".", batch)
        eps = self.prior.predict(noisy, t, context, residuals)
        _count(batch, "forward")
        for edit in {id(each.query.edit): each.query.edit for each in batch}.values():
            edit.evaluations.calls += 1
        if eps.requires_grad:
            eps.register_hook(_counting(batch, "backward"))
        return eps

    def _select(self, host: str, batch: Sequence[_Rows]) -> None:
        """Let the rows of the next calls of a host have their models' adapters."""
        if self.low_rank and host in self.low_rank.hosts:
            rows = [each.query.edit.adapter(each.prediction.network) for each in batch for _ in each.noisy]
            self.low_rank.select(host, rows)

    def detach(self) -> None:
        """Give the prior back as it was."""
        if self.low_rank:
            self.low_rank.detach()


def _size(each: _Rows) -> tuple[int, ...]:
    return tuple(each.noisy.shape[1:])


def _count(batch: Iterable[_Rows], name: str) -> None:
    for each in batch:
        evaluations = each.query.edit.evaluations
        setattr(evaluations, name, getattr(evaluations, name) + len(each.noisy))


def _counting(batch: Sequence[_Rows], name: str) -> Callable[[Tensor], None]:
    """Return a hook that counts a backward pass when it happens."""
    counts = [(each.query.edit.evaluations, len(each.noisy)) for each in batch]

    def count(_: Tensor) -> None:
        for evaluations, rows in counts:
            setattr(evaluations, name, getattr(evaluations, name) + rows)

    return count
