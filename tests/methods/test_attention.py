"""Which tokens share their maps, and that sharing with oneself changes nothing."""

import pytest
import torch
from helpers.tiny_prior import contexts

from piva.methods.attention import Pair, align, attending_alike
from piva.priors.prior import Prior
from piva.scores.terms import Prompt

START, END, PAD = 1, 2, 0


@pytest.mark.parametrize(
    ("source", "target", "words", "taken"),
    [
        ([START, 7, 8, END], [START, 7, 8, END], "refine", {(0, 0): 1, (1, 1): 1, (2, 2): 1, (3, 3): 1}),
        ([START, 7, 8, END], [START, 9, 8, END], "refine", {(0, 0): 1, (2, 2): 1, (3, 3): 1}),
        ([START, 7, 8, END], [START, 9, 8, END], "replace", {(0, 0): 1, (1, 1): 1, (2, 2): 1, (3, 3): 1}),
        # a word of two tokens for one of one: each has half of its maps
        (
            [START, 7, 8, END, PAD],
            [START, 5, 6, 8, END],
            "replace",
            {(0, 0): 1, (1, 1): 0.5, (1, 2): 0.5, (2, 3): 1, (3, 4): 1},
        ),
        # a new word: those after it are one to the right
        ([START, 8, END, PAD], [START, 9, 8, END], "refine", {(0, 0): 1, (1, 2): 1, (2, 3): 1}),
    ],
)
def test_shared_words_are_aligned(
    source: list[int], target: list[int], words: str, taken: dict[tuple[int, int], float]
) -> None:
    found = align(source, target, words)
    assert {tuple(i): found[tuple(i)].item() for i in found.nonzero().tolist()} == taken


def test_rows_that_share_with_themselves_attend_as_before(prior: Prior) -> None:
    """Softmax by hand against diffusers' own processor, and the rows outside of pairs too."""
    own = contexts(prior)
    x, context = (
        torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.cat([*own.values()]),
    )
    plain = prior.predict(x, prior.timestep(300), context)
    pairs = [Pair(i, i, torch.eye(context.shape[1])) for i in (0, 2)]
    with attending_alike(prior.unet, pairs, cross=True, self_size=32):
        torch.testing.assert_close(
            prior.predict(x, prior.timestep(300), context), plain, atol=1e-5, rtol=1e-5
        )


def test_maps_between_pixels_are_shared_up_to_a_size(prior: Prior) -> None:
    """The U-Net has maps between 8 x 8 pixels, and between 4 x 4 in its middle."""
    own = contexts(prior)
    x, context = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), own[Prompt.NULL]
    pairs = [Pair(0, 1, torch.eye(context.shape[1]))]

    def predicted(self_size: int) -> torch.Tensor:
        with attending_alike(prior.unet, pairs, cross=False, self_size=self_size):
            return prior.predict(x, prior.timestep(300), context.expand(2, -1, -1))

    plain, middle, all_of_them = predicted(3), predicted(4), predicted(8)
    assert torch.equal(plain, predicted(0))
    assert torch.equal(middle, predicted(7))
    torch.testing.assert_close(plain[0], all_of_them[0], atol=1e-5, rtol=1e-5)
    assert (plain[1] - middle[1]).abs().max() > 1e-3
    assert (middle[1] - all_of_them[1]).abs().max() > 1e-5
