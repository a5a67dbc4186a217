import torch

from piva.priors.depth import depth_hint


def test_hint_is_one_at_the_nearest_and_zero_at_the_farthest_and_outside():
    depth = torch.tensor([[[0.0, 2.0], [4.0, 3.0]]])
    # inverse depths 1/2, 1/4, 1/3: (1/3 - 1/4) / (1/2 - 1/4) = 1/3
    torch.testing.assert_close(depth_hint(depth), torch.tensor([[[[0.0, 1.0], [0.0, 1 / 3]]]]))


def test_hint_does_not_know_the_unit():
    depth = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0)) + 1
    torch.testing.assert_close(depth_hint(depth), depth_hint(1000 * depth))


def test_an_empty_picture_has_an_empty_hint():
    assert not depth_hint(torch.zeros(1, 3, 3)).any()
