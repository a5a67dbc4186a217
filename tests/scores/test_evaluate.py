"""The evaluator: the right sum, on the right latents, in as few network calls as the algebra allows."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from piva.priors.schedule import Schedule
from piva.scores.csd import CSD
from piva.scores.dds import DDS
from piva.scores.dreamcatalyst import DreamCatalyst
from piva.scores.evaluate import Request, evaluate
from piva.scores.pds import PDS
from piva.scores.piva import Piva
from piva.scores.sds import SDS
from piva.scores.terms import EDIT, ORIGINAL, SOURCE, TARGET, Latents, Network, Prediction, Score, Sum
from piva.scores.vsd import VSD

SCHEDULE = Schedule((0.99, 0.5, 0.01))
PAIRS = [Prediction(Network.SOURCE, ORIGINAL, SOURCE), Prediction(Network.TARGET, EDIT, TARGET)]
SCORES = [
    SDS(guidance_scale=7.5, weight="uniform"),
    CSD(guidance_scale=7.5, weight="uniform"),
    DDS(guidance_scale=7.5, reference="original", weight="uniform"),
    VSD(guidance_scale=7.5, weight="uniform"),
    PDS(guidance_scale=7.5, gap=2, weight="uniform"),
    DreamCatalyst(
        guidance_scale=7.5, source_text="guided", delta=0.2, gamma=0.8, chi=0.075, weight="uniform"
    ),
    Piva(lam=0.4, guidance_scale=7.5, reference="edit", weight="uniform"),
]


class World:
    """Latents of two views, and networks that scale their input, each prediction by a factor of its own."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(0)
        self.noise = torch.randn(2, 4, 3, 3, generator=draw)
        self.clean = {kind: torch.randn(2, 4, 3, 3, generator=draw).requires_grad_() for kind in Latents}
        self.noisy = {kind: SCHEDULE.noised(x, self.noise, 1) for kind, x in self.clean.items()}
        self.weight = torch.ones((), requires_grad=True)
        self.calls: list[tuple[list[Prediction], bool]] = []

    def factor(self, prediction: Prediction) -> float:
        kinds = (list(Network), list(Latents), ["target", "source", "null"])
        parts = (prediction.network, prediction.latents, prediction.prompt.value)
        return 1.0 + sum(
            10.0**-i * kind.index(part) for i, (kind, part) in enumerate(zip(kinds, parts, strict=True))
        )  # type: ignore[arg-type]

    def predict(self, asked: Sequence[Sequence[Prediction]]) -> list[dict[Prediction, Tensor]]:
        self.calls += [(list(each), torch.is_grad_enabled()) for each in asked if each]
        return [
            {p: self.weight * self.factor(p) * self.noisy[p.latents].detach() for p in each} for each in asked
        ]

    def request(self, terms: Sum, pairs: Sequence[Prediction]) -> Request:
        return Request(terms, pairs, {kind: x.detach() for kind, x in self.clean.items()}, self.noise)


@pytest.mark.parametrize("score", SCORES, ids=lambda score: type(score).__name__)
@pytest.mark.parametrize("pairs", [[], PAIRS], ids=["frozen", "trained"])
def test_the_direction_is_the_sum_of_its_terms(score: Score, pairs: list[Prediction]) -> None:
    world, terms = World(), score.direction(SCHEDULE, 1, 0.0)
    tensors = {"noise": world.noise} | {kind.value: x.detach() for kind, x in world.clean.items()}
    expected = sum(
        weight * (world.factor(term) * world.noisy[term.latents].detach() if isinstance(term, Prediction)
                  else tensors[term.name])
        for term, weight in terms.weights.items()
    )  # fmt: skip
    (result,) = evaluate([world.request(terms, pairs)], world.predict)
    torch.testing.assert_close(result.direction, expected)
    assert not result.direction.requires_grad


def test_training_pairs_are_predicted_once_with_gradients_and_the_rest_without() -> None:
    world = World()
    terms = SCORES[-1].direction(SCHEDULE, 1, 0.0)
    (result,) = evaluate([world.request(terms, PAIRS)], world.predict)
    (rest, no_graph), (trained, graph) = world.calls
    assert (trained, graph, no_graph) == (PAIRS, True, False)
    assert set(rest) == set(terms.predictions) - set(PAIRS)
    for pair in PAIRS:
        torch.testing.assert_close(
            result.predicted[pair.network], world.factor(pair) * world.noisy[pair.latents]
        )
    torch.stack(list(result.predicted.values())).sum().backward()
    assert world.weight.grad is not None


def test_a_sum_without_predictions_calls_no_network() -> None:
    world = World()
    terms = SCORES[0].direction(SCHEDULE, 1, 0.0) - SCORES[0].direction(SCHEDULE, 1, 1.0)
    (result,) = evaluate([world.request(terms, [])], world.predict)
    assert not world.calls
    assert not result.direction.any()


def test_several_requests_are_answered_each_by_its_own_sum() -> None:
    world = World()
    sums = [score.direction(SCHEDULE, 1, 0.0) for score in SCORES]
    together = evaluate([world.request(terms, []) for terms in sums], world.predict)
    for terms, result in zip(sums, together, strict=True):
        (alone,) = evaluate([world.request(terms, [])], world.predict)
        assert torch.equal(result.direction, alone.direction)
