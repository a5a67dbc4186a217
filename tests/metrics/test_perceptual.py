"""By hand, and the properties that every network's metrics must have."""

import torch

from piva.metrics.perceptual import alignment, directional, feature_distance

X, Y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])


def test_alignment_is_the_cosine_with_the_prompt() -> None:
    pictures = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    torch.testing.assert_close(alignment(pictures, X), torch.tensor([1.0, 0.6, -1.0]))


def test_a_change_along_the_prompts_change_scores_one_and_against_it_minus_one() -> None:
    torch.testing.assert_close(directional(X, Y, X, Y), torch.ones(1))
    torch.testing.assert_close(directional(Y, X, X, Y), -torch.ones(1))


def test_no_change_has_no_direction() -> None:
    assert directional(X, X, X, Y).item() == 0


def test_feature_distance_by_hand() -> None:
    """Unit vectors at right angles are sqrt(2) apart: at half of the first stage's pixels, all of the
    second's.
    """
    a = [torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]]), torch.tensor([[[[5.0]], [[0.0]]]])]
    b = [torch.tensor([[[[3.0, 0.0]], [[0.0, 2.0]]]]), torch.tensor([[[[0.0]], [[7.0]]]])]
    torch.testing.assert_close(feature_distance(a, b), torch.tensor([1.0 + 2.0]))


def test_feature_distance_of_a_picture_with_itself_is_zero(generator: torch.Generator) -> None:
    a, b = (torch.randn(3, 4, 5, 5, generator=generator) for _ in range(2))
    assert feature_distance([a], [a]).tolist() == [0, 0, 0]
    torch.testing.assert_close(feature_distance([a], [b]), feature_distance([b], [a]))
    torch.testing.assert_close(feature_distance([a], [b])[1:2], feature_distance([a[1:2]], [b[1:2]]))
